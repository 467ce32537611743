import { useEffect, useRef } from 'react'
import { explain } from './words.js'

// Page is a heading with what is below it. A page that comes up takes the focus, so
// that a screen reader begins to read here.
export function Page({ title, lead, children }) {
  const heading = useRef(null)
  useEffect(() => {
    document.title = `${title} · Pigeonhole`
    heading.current.focus()
  }, [title])
  return (
    <>
      <h1 ref={heading} tabIndex={-1}>{title}</h1>
      <p className="lead">{lead}</p>
      {children}
    </>
  )
}

// Loaded shows what useData has: its error with a way to try again, and its data.
export function Loaded({ from: { data, error, reload }, children }) {
  return (
    <>
      {error && <p className="notice bad" role="alert">{explain(error).text} <button type="button" className="link" onClick={reload}>Try again</button></p>}
      {data ? children(data) : !error && <p className="waiting" role="status">One moment, please…</p>}
    </>
  )
}
