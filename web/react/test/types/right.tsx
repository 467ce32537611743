// How the binding is meant to be used: all of it compiles.
import { createClient, type Client, type Snapshot, type User } from '@innkeeper/client'
import { InnkeeperProvider, RequireSession, useClient, useFetch, useSession } from '@innkeeper/react'
import { StrictMode, type ReactNode } from 'react'

const client: Client = createClient()

export function App(): ReactNode {
  return (
    <StrictMode>
      <InnkeeperProvider client={client}>
        <RequireSession loading="one moment" signedOut={<p>Sign in</p>} permission="mail:read" forbidden={null}>
          <Mail />
          and more
        </RequireSession>
        <RequireSession />
      </InnkeeperProvider>
    </StrictMode>
  )
}

function Mail() {
  const whole: Readonly<Snapshot> = useSession()
  const user: User | null = useSession((session) => session.user)
  const isLost: boolean = useSession((session) => session.degraded || session.offline)
  const fetch: typeof globalThis.fetch = useFetch()
  const signOut = (): Promise<void> => useClient().signOut({ scope: 'everywhere' })
  const load = (): Promise<Response> => useFetch()('/api/mail', { method: 'POST', innkeeper: { replay: false } })
  return <button onClick={() => { void signOut(); void load(); void fetch('/') }}>{user?.username} {whole.status} {String(isLost)}</button>
}
