// What must compile.
import { createClient, RefusedError, SignedOutError, UserChangedError, RefreshUnavailableError, InnkeeperError } from '@innkeeper/client';
import type { Client, ClientEvent, Options, Reason, Snapshot, Ticket, User } from '@innkeeper/client';
import { attach } from '@innkeeper/client/adapters/axios';
import { native } from '@innkeeper/client/adapters/native';
import { connect, protocols } from '@innkeeper/client/adapters/sockets';
import { xhr } from '@innkeeper/client/adapters/xhr';

const options: Options = { url: 'https://auth.example.com', allowedOrigins: ['https://api.example.com'], refreshOn: 'any', shareTokens: false, device: 'x' };
const client: Client = createClient(options);
createClient();

export async function everything(signal: AbortSignal): Promise<Snapshot> {
  const snapshot: Readonly<Snapshot> = await client.signIn({ username: 'a', password: 'b', device: 'c' });
  await client.signUp({ username: 'a', password: 'b', email: 'a@example.com' });
  await client.changePassword({ currentPassword: 'a', newPassword: 'b' });
  const token: string = await client.getToken({ minTtl: 1000, signal, forceGen: 3 });
  await client.ensureFresh(60_000, { signal });
  await client.signOut();
  await client.signOut({ scope: 'everywhere' });
  const response: Response = await client.fetch(new URL('https://api.example.com'), { method: 'POST', body: token, innkeeper: { replay: false } });
  const plain: typeof fetch = client.fetch;
  const ticket: Ticket | null = await client.ticket('/api', { refused: undefined });
  const leave: () => void = client.subscribe((event: ClientEvent) => {
    if (event.type === 'signed_out') console.log(event.session.reason satisfies Reason);
  });
  leave();
  client.close();
  if (snapshot.status === 'signed_in') console.log(snapshot.user?.permissions.includes('mail:read'), snapshot.session?.expiresAt.slice(0, 10));
  console.log(response.status, plain, ticket?.token);
  return client.ready();
}

export function errors(error: unknown): string | number | undefined {
  if (error instanceof SignedOutError) return error.reason ?? error.code;
  if (error instanceof RefreshUnavailableError) return error.retryAfter;
  if (error instanceof RefusedError) return error.problem?.['detail'] ?? error.status;
  if (error instanceof UserChangedError || error instanceof InnkeeperError) return error.code;
  return undefined;
}

export function name(user: User): string {
  return `${user.username} ${user.email ?? ''} ${user.roles.join()}`;
}

export async function adapters(axios: Parameters<typeof attach>[1]) {
  attach(client, axios).request({});
  (await xhr(client, { url: '/api', body: 'x', onprogress: ({ loaded }) => loaded, onreset() {} })).status.toFixed();
  connect(client, '/live', (ticket) => new WebSocket('/live', protocols(ticket, 'chat'))).close();
  createClient({ url: 'https://auth.example.com', ...native({ load: async () => null, save: async () => {}, clear: async () => {} }) });
}
