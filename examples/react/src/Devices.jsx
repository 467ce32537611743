import { useClient, useFetch } from '@innkeeper/react'
import { useState } from 'react'
import { Loaded, Page } from './Page.jsx'
import { refusal, useData } from './useData.js'
import { ago } from './time.js'
import { explain } from './words.js'

export function Devices({ signOut }) {
  const client = useClient()
  const fetch = useFetch()
  const devices = useData('/auth/sessions')
  const [trouble, setTrouble] = useState(null)

  const act = (what) => async () => {
    setTrouble(null)
    try {
      await what()
    } catch (error) {
      setTrouble(explain(error))
    }
    devices.reload()
  }
  const end = (id) => act(async () => {
    const response = await fetch(`/auth/sessions/${id}`, { method: 'DELETE' })
    if (!response.ok && response.status !== 404) throw await refusal(response) // 404: it has ended already
  })
  return (
    <Page title="Devices" lead="Where you are signed in. End what you do not know or do not need.">
      {trouble && <p className="notice bad" role="alert">{trouble.text}</p>}
      <Loaded from={devices}>
        {({ sessions }) => (
          <>
            <ul className="devices">
              {sessions.map((session) => (
                <Device key={session.id} {...session} onEnd={session.current ? () => signOut('this') : end(session.id)} />
              ))}
            </ul>
            {sessions.length > 1 && (
              <button type="button" onClick={act(() => client.signOut({ scope: 'others' }))}>Sign out all other devices</button>
            )}
          </>
        )}
      </Loaded>
    </Page>
  )
}

function Device({ device, user_agent: agent, ip, created_at: created, last_seen_at: seen, current, onEnd }) {
  const name = device ?? browserOf(agent)
  return (
    <li>
      <div>
        <h2>{name} {current && <span className="here">this one</span>}</h2>
        <p>Seen {ago(seen)} · signed in {ago(created)} · {ip}</p>
      </div>
      <button type="button" onClick={onEnd} aria-label={current ? 'Sign out here' : `End the session of ${name}`}>{current ? 'Sign out' : 'End'}</button>
    </li>
  )
}

// browserOf makes a name of what a browser says about itself. The first that fits is
// right: each of them claims to be all those below it.
function browserOf(agent = '') {
  const first = (names) => Object.keys(names).find((name) => names[name].test(agent))
  const browser = first({ Edge: /Edg/, Firefox: /Firefox/, Chrome: /Chrome/, Safari: /Safari/ })
  const system = first({ iPhone: /iPhone/, iPad: /iPad/, Android: /Android/, Windows: /Windows/, macOS: /Mac OS/, Linux: /Linux/ })
  return [browser ?? 'A program', system].filter(Boolean).join(' on ')
}
