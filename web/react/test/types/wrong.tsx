// How it is not meant to be used: each statement below such a comment must not
// compile, and with that error.
import { createClient } from '@innkeeper/client'
import { InnkeeperProvider, RequireSession, useClient, useFetch, useSession } from '@innkeeper/react'

// error TS2741: the client is made by you
export const noClient = <InnkeeperProvider />

// error TS2353: options are no client
export const options = <InnkeeperProvider client={{ url: 'https://auth.example.com' }} />

// error TS2322: there is no such property
export const unknownProperty = <RequireSession fallback={<p />} />

// error TS2322: one permission, not several
export const several = <RequireSession permission={['mail:read', 'mail:send']} />

// error TS2322: what is shown is rendered, not called
export const called = <RequireSession signedOut={() => <p />} />

// error TS2339: no snapshot holds the token
export const Token = () => <p>{useSession().token}</p>

// error TS2531: nobody may be signed in
export const Name = () => <p>{useSession().user.username}</p>

// error TS2322: what a selector returns is what there is
export const Selected = () => { const name: number = useSession((session) => session.status); return <p>{name}</p> }

// error TS2322: without a selector it is the snapshot
export const Whole = () => { const status: string = useSession(); return <p>{status}</p> }

// error TS2367: there is no such status
export const Status = () => <p>{useSession((session) => session.status === 'signed-in')}</p>

// error TS2540: a snapshot is not changed
export const Change = () => { useSession().status = 'signed_out'; return null }

// error TS2322: there is no such scope
export const Scope = () => <button onClick={() => useClient().signOut({ scope: 'all' })} />

// error TS2353: it is a fetch
export const Fetch = () => <button onClick={() => useFetch()('/api/mail', { retries: 3 })} />

// error TS2554: a provider is where a client is from
export const fromHook = useClient(createClient())
