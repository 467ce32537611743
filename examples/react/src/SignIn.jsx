import { useClient, useSession } from '@innkeeper/react'
import { useEffect, useState } from 'react'
import { Field, Trouble, useForm } from './Form.jsx'
import { Key, Rack } from './Key.jsx'
import { goodbyes, untoldNotice } from './words.js'

export function SignIn({ untold }) {
  const client = useClient()
  const reason = useSession((session) => session.reason)
  const [isNew, setNew] = useState(false)
  const { onSubmit, busy, trouble, forget } = useForm(({ email, ...who }) => (
    isNew ? client.signUp({ ...who, ...(email && { email }) }) : client.signIn(who)
  ))
  const notice = untold ? untoldNotice : goodbyes[reason]
  useEffect(() => { document.title = 'Sign in · Pigeonhole' }, [])

  const turn = () => {
    forget()
    setNew(!isNew)
  }
  return (
    <div className="arrival">
      <Rack />
      <main>
        <p className="brand"><Key /> Pigeonhole</p>
        <h1>{isNew ? 'Your first stay?' : 'Good to see you.'}</h1>
        <p className="lead">{isNew ? 'Choose a name and a password, and there is a pigeonhole for you.' : 'Sign in, and your post is handed over.'}</p>
        {notice && !trouble && <p className="notice" role="status">{notice}</p>}
        <form onSubmit={onSubmit} noValidate>
          <Field label="User name" name="username" autoComplete="username" autoCapitalize="none" spellCheck={false} trouble={trouble} />
          {isNew && <Field label="Email" note="optional" name="email" type="email" autoComplete="email" trouble={trouble} />}
          <Field label="Password" note={isNew && 'at least 8 characters'} name="password" type="password"
            autoComplete={isNew ? 'new-password' : 'current-password'} trouble={trouble} />
          <Trouble of={trouble} />
          <button className="primary" aria-disabled={busy}>{isNew ? 'Create account' : 'Sign in'}</button>
        </form>
        <p className="other">
          {isNew ? 'You have an account?' : 'You are new here?'}{' '}
          <button type="button" className="link" onClick={turn}>{isNew ? 'Sign in' : 'Create one'}</button>
        </p>
      </main>
    </div>
  )
}
