import { useClient } from '@innkeeper/react'

export function Desk() {
  const client = useClient()
  return (
    <>
      <p id="desk">first desk</p>
      <button id="refresh" onClick={() => client.getToken({ forceGen: client.session.session.generation })}>Refresh</button>
      <button id="switch" onClick={() => client.signUp({ username: `bob${Date.now()}`, password: 'correct horse battery staple' })}>Somebody else</button>
      <button id="sign-out" onClick={() => client.signOut()}>Sign out</button>
    </>
  )
}
