// What must not compile: each line that does is an error.
import { createClient } from '@innkeeper/client';
import { connect } from '@innkeeper/client/adapters/sockets';

const client = createClient();

// @ts-expect-error an option that does not exist
createClient({ refreshToken: 'ikr_' });
// @ts-expect-error a body is for native shells, which have an adapter
createClient({ delivery: 'body' });
// @ts-expect-error not a way to decide on a 401
createClient({ refreshOn: 'always' });
// @ts-expect-error a password is needed
client.signIn({ username: 'a' });
// @ts-expect-error sign-in has no email
client.signIn({ username: 'a', password: 'b', email: 'c' });
// @ts-expect-error no such scope
client.signOut({ scope: 'all' });
// @ts-expect-error a snapshot never changes
client.session.status = 'signed_in';
// @ts-expect-error nor does the user in it
client.session.user.roles.push('admin');
// @ts-expect-error nobody may be signed in
client.session.user.username.length;
// @ts-expect-error the token is not part of the state
client.session.token;
// @ts-expect-error nor of the client
client.card;
// @ts-expect-error milliseconds are a number
client.ensureFresh('60s');
// @ts-expect-error both passwords are needed
client.changePassword({ newPassword: 'b' });
// @ts-expect-error no such state
if (client.session.status === 'loading') client.close();
// @ts-expect-error no such event
client.subscribe(({ type }) => type === 'logout');
// @ts-expect-error replay is yes or no
client.fetch('/', { innkeeper: { replay: 2 } });
// @ts-expect-error a ticket may be null
client.ticket('/').then((ticket) => ticket.token);
// @ts-expect-error a URL alone is no connection
connect(client, '/live', () => '/live');
