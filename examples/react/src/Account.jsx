import { useClient, useSession } from '@innkeeper/react'
import { useState } from 'react'
import { Field, Trouble, useForm } from './Form.jsx'
import { Page } from './Page.jsx'
import { explain } from './words.js'

export function Account({ signOut }) {
  return (
    <Page title="Account" lead="Your password, and the way out.">
      <ChangePassword />
      <section>
        <h2>Leave</h2>
        <p>Here only, or on every device at once. If you have lost one of them, change your password as well.</p>
        <p className="buttons">
          <button type="button" onClick={() => signOut('this')}>Sign out here</button>
          <button type="button" className="bad" onClick={() => signOut('everywhere')}>Sign out everywhere</button>
        </p>
      </section>
    </Page>
  )
}

function ChangePassword() {
  const client = useClient()
  const username = useSession((session) => session.user?.username)
  const [done, setDone] = useState(false)
  const { onSubmit, busy, trouble } = useForm(async ({ current, password }, form) => {
    setDone(false)
    await client.changePassword({ currentPassword: current, newPassword: password })
    form.reset()
    setDone(true)
  }, explainChange)
  return (
    <section>
      <h2>Change your password</h2>
      <p>It signs out every other device.</p>
      <form onSubmit={onSubmit} noValidate>
        <input name="username" autoComplete="username" value={username} readOnly hidden /> {/* for password managers */}
        <Field label="Current password" name="current" type="password" autoComplete="current-password" trouble={trouble} />
        <Field label="New password" note="at least 8 characters" name="password" type="password" autoComplete="new-password" trouble={trouble} />
        <Trouble of={trouble} />
        <button className="primary" aria-disabled={busy}>Change it</button>
        <p role="status" className="done">{done && 'Your password is changed. All other devices are signed out.'}</p>
      </form>
    </section>
  )
}

// Only one of the two passwords can be wrong.
function explainChange(error) {
  return error.code === 'invalid_credentials' ? { field: 'current', text: 'That is not your current password.' } : explain(error)
}
