import { RequireSession, useClient, useSession } from '@innkeeper/react'
import { useState, useSyncExternalStore } from 'react'
import { Account } from './Account.jsx'
import { Devices } from './Devices.jsx'
import { Key } from './Key.jsx'
import { Mails } from './Mails.jsx'
import { SignIn } from './SignIn.jsx'

// Nothing of the app is rendered before the session is known, and nothing of it is left
// when the session has ended, in whichever tab that was.
export function App() {
  const client = useClient()
  const [untold, setUntold] = useState(false)

  // Here it works at once, whatever the network does: the client goes on trying to tell
  // the front desk of this session. Of the other devices it tells now or not at all.
  const signOut = async (scope) => {
    setUntold(false)
    await client.signOut({ scope }).catch(() => setUntold(true))
  }
  return (
    <RequireSession loading={<Waiting />} signedOut={<SignIn untold={untold} />}>
      <Home signOut={signOut} />
    </RequireSession>
  )
}

function Waiting() {
  const lost = useSession((session) => session.degraded || session.offline)
  return <p className="waiting" role="status">{lost ? 'The front desk does not answer yet. We go on trying…' : 'One moment, please…'}</p>
}

const pages = {
  mail: { name: 'Mail', Page: Mails },
  devices: { name: 'Devices', Page: Devices },
  account: { name: 'Account', Page: Account },
}

function Home({ signOut }) {
  const user = useSession((session) => session.user)
  const current = usePage()
  const { Page } = pages[current]
  return (
    <div className="home">
      <header>
        <a className="brand" href="#mail"><Key /> Pigeonhole</a>
        <nav aria-label="Pages">
          {Object.entries(pages).map(([page, { name }]) => (
            <a key={page} href={`#${page}`} aria-current={page === current ? 'page' : undefined}>{name}</a>
          ))}
        </nav>
        <p className="tag" title="Signed in">{user.username}</p>
        <button className="quiet" onClick={() => signOut('this')}>Sign out</button>
      </header>
      <Connection />
      <main>
        <Page key={current} signOut={signOut} />
      </main>
    </div>
  )
}

// A bad connection is no reason to sign anybody out: say so, and go on.
function Connection() {
  const lost = useSession((session) => session.degraded || session.offline)
  return <div role="status">{lost && <p className="notice">The front desk cannot be reached. You are still signed in; this page goes on by itself.</p>}</div>
}

// The page is in the URL, so that the back button works.
function usePage() {
  const page = useSyncExternalStore(onHashChange, () => location.hash.slice(1))
  return Object.hasOwn(pages, page) ? page : 'mail'
}

function onHashChange(listener) {
  addEventListener('hashchange', listener)
  return () => removeEventListener('hashchange', listener)
}
