import { createClient } from '@innkeeper/client'
import { InnkeeperProvider, RequireSession, useClient, useFetch, useSession } from '@innkeeper/react'
import { useEffect, useState } from 'react'
import { Desk } from './Desk.jsx'

// Made beside components, so that every hot reload of this file makes another one.
const client = createClient()

export function App() {
  return (
    <InnkeeperProvider client={client}>
      <Seen />
      <Impatient />
      <RequireSession loading={<p id="loading">one moment</p>} signedOut={<SignUp />}>
        <Desk />
        <Me />
        <RequireSession permission="mail:read" forbidden={<p id="forbidden">no mail for you</p>}>
          <p id="mail">mail</p>
        </RequireSession>
      </RequireSession>
      <p id="version">first version</p>
    </InnkeeperProvider>
  )
}

// Seen shows the whole snapshot, and notes every status that is rendered.
function Seen() {
  const { status, session } = useSession()
  if (typeof window === 'object') (window.seen ??= []).push(status)
  return <p id="generation">{session?.generation}</p>
}

// Impatient does not wait for the session: its effect calls the API in the middle of
// hydration, twice in StrictMode.
function Impatient() {
  const fetch = useFetch()
  useEffect(() => {
    (window.calls ??= []).push(fetch('/auth/me').then((response) => response.status))
  }, [fetch])
  return null
}

function SignUp() {
  const client = useClient()
  const signUp = () => client.signUp({ username: `ada${Date.now()}`, password: 'correct horse battery staple' })
  return <button id="sign-up" onClick={signUp}>Sign up</button>
}

// Me renders for every change of the user, and for nothing else.
function Me() {
  const username = useSession((session) => session.user.username)
  const [count, setCount] = useState(0)
  useEffect(() => { window.commits = (window.commits ?? 0) + 1 })
  return <button id="me" onClick={() => setCount(count + 1)}>{username} {count}</button>
}
