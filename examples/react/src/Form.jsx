import { useEffect, useId, useRef, useState } from 'react'
import { explain } from './words.js'

// useForm runs an action with the values of a form. When it fails, what somebody has
// typed stays where it is, and tell says what went wrong.
export function useForm(action, tell = explain) {
  const [{ busy, trouble }, set] = useState({ busy: false, trouble: null })
  const onSubmit = async (event) => {
    event.preventDefault()
    if (busy) return
    const form = event.currentTarget
    set({ busy: true, trouble: null })
    try {
      await action(Object.fromEntries(new FormData(form)), form)
      set({ busy: false, trouble: null })
    } catch (error) {
      set({ busy: false, trouble: tell(error) })
    }
  }
  return { onSubmit, busy, trouble, forget: () => set({ busy: false, trouble: null }) }
}

// Field is a labelled input. If the trouble is about it, it says so and takes the focus.
export function Field({ label, note, trouble, name, ...rest }) {
  const id = useId()
  const input = useRef(null)
  const mine = trouble?.field === name ? trouble : null
  useEffect(() => {
    if (mine) input.current.focus()
  }, [mine])
  return (
    <div className="field">
      <label htmlFor={id}>{label} {note && <span>{note}</span>}</label>
      <input id={id} ref={input} name={name} aria-invalid={mine ? true : undefined} aria-describedby={mine ? `${id}-trouble` : undefined} {...rest} />
      {mine && <p className="trouble" id={`${id}-trouble`} role="alert">{mine.text}</p>}
    </div>
  )
}

// Trouble is what belongs to no field.
export function Trouble({ of: trouble }) {
  return trouble && !trouble.field && <p className="trouble" role="alert">{trouble.text}</p>
}
