import { createClient } from '@innkeeper/client'
import { InnkeeperProvider } from '@innkeeper/react'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './App.jsx'

// One client for the whole page, made outside of React: it outlives every component.
// Innkeeper is under this host, so there is nothing to set.
const client = createClient()

createRoot(document.getElementById('root')).render(
  <StrictMode>
    <InnkeeperProvider client={client}>
      <App />
    </InnkeeperProvider>
  </StrictMode>,
)
