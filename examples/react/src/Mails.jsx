import { Loaded, Page } from './Page.jsx'
import { useData } from './useData.js'
import { ago } from './time.js'

export function Mails() {
  const mails = useData('/api/mails')
  return (
    <Page title="Your mail" lead="What was left for you at the front desk.">
      <Loaded from={mails}>
        {({ mails }) => (
          <ul className="mails">
            {mails.map(({ id, from, subject, text, received }) => (
              <li key={id}>
                <details name="mail">
                  <summary>
                    <span className="from">{from}</span>
                    <span className="subject">{subject}</span>
                    <time dateTime={received}>{ago(received)}</time>
                  </summary>
                  <p>{text}</p>
                </details>
              </li>
            ))}
          </ul>
        )}
      </Loaded>
      <button type="button" onClick={mails.reload}>Look again</button>
    </Page>
  )
}
