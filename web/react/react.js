'use client';
// Innkeeper in React. The client is made outside of React, once, and lives as long
// as the page; here React only looks at it. Nothing in this file starts a request,
// so rendering twice (StrictMode), again (hot reload) or on a server costs nothing.
//
//     const client = createClient();
//
//     <InnkeeperProvider client={client}>
//       <RequireSession signedOut={<SignIn />}>
//         <Mail />
//       </RequireSession>
//     </InnkeeperProvider>

import { createContext, createElement, Fragment, useCallback, useContext, useSyncExternalStore } from 'react';

/** @typedef {import('@innkeeper/client').Client} Client */
/** @typedef {import('@innkeeper/client').Snapshot} Snapshot */
/** @typedef {import('react').ReactNode} ReactNode */

/**
 * What a server renders, and what hydration begins with: a server looks at no
 * session and renews none. Always the same object, or React would warn and render
 * for ever.
 * @type {Readonly<Snapshot>}
 */
const UNKNOWN = Object.freeze({
  status: 'unknown', user: null, session: null, reason: null, refreshing: false, degraded: false, offline: false,
});

const whole = (/** @type {any} */ snapshot) => snapshot;

const Context = createContext(/** @type {Client | null} */ (null));

/**
 * Gives a client to all components below. Make it outside of components, with
 * `createClient` of `@innkeeper/client`: it outlives them. The provider neither
 * makes nor closes one.
 * @param {{client: Client, children?: ReactNode}} props
 * @returns {ReactNode}
 */
export function InnkeeperProvider({ client, children }) {
  return createElement(Context.Provider, { value: client }, children);
}

/**
 * The client of the provider above: `signIn`, `signUp`, `signOut`, `changePassword`
 * and all else that it can. The component is not rendered again when the session
 * changes; that is what {@link useSession} is for. Throws outside of a provider.
 * @returns {Client}
 */
export function useClient() {
  const client = useContext(Context);
  if (!client) throw new Error('useClient, useSession, useFetch and RequireSession need an InnkeeperProvider above them');
  return client;
}

/**
 * The session as it is now; the component is rendered again when it changes. The
 * snapshot is immutable and holds no token. Its status is `unknown` on a server,
 * while hydrating and until the client has looked: never show that as signed out.
 * Throws outside of a provider.
 *
 * With `select` the component is rendered again only when the selected value
 * changes, and not for every refresh in the background: `useSession((s) => s.user)`.
 * Select a member of the snapshot or a primitive, not a new object each time.
 * @overload
 * @returns {Readonly<Snapshot>}
 */
/**
 * @template T
 * @overload
 * @param {(snapshot: Readonly<Snapshot>) => T} select
 * @returns {T}
 */
/** @param {(snapshot: Readonly<Snapshot>) => any} select */
export function useSession(select = whole) {
  const client = useClient();
  const subscribe = useCallback((/** @type {() => void} */ listener) => client.subscribe(listener), [client]);
  return useSyncExternalStore(subscribe, () => select(client.session), () => select(UNKNOWN));
}

/**
 * `fetch` with the access token, which is renewed when it has to be: `client.fetch`
 * of the provider above. It is the same function as long as the client is the same,
 * so it may stand among the dependencies of an effect. Throws outside of a provider.
 * @returns {Client['fetch']}
 */
export const useFetch = () => useClient().fetch;

/**
 * Renders its children for somebody who is signed in, and something else for
 * everybody else. It hides and does not protect: what somebody may see is decided by
 * the API that has the data.
 *
 * When somebody else signs in, in another tab for example, the children are mounted
 * anew, so that no state of the one is shown to the other. A refresh, or a change of
 * the password in this tab, mounts nothing anew.
 * @param {object} props
 * @param {ReactNode} [props.children] for who is signed in
 * @param {ReactNode} [props.signedOut] for who is not: the sign-in form. By default nothing
 * @param {ReactNode} [props.loading] until it is known which of the two. By default nothing
 * @param {string} [props.permission] one that the user must have. By default none
 * @param {ReactNode} [props.forbidden] for who is signed in without that permission. By default nothing
 * @returns {ReactNode}
 */
export function RequireSession({ children, signedOut, loading, permission, forbidden }) {
  const status = useSession((session) => session.status);
  const user = useSession((session) => session.user);
  if (status === 'unknown') return loading;
  if (!user) return signedOut;
  if (permission && !user.permissions.includes(permission)) return forbidden;
  return createElement(Fragment, { key: user.id }, children);
}
