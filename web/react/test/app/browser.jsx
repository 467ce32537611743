import { StrictMode } from 'react'
import { hydrateRoot } from 'react-dom/client'
import { App } from './App.jsx'

hydrateRoot(document.getElementById('root'), <StrictMode><App /></StrictMode>, {
  onRecoverableError: (error) => console.error('recovered from', error), // a hydration that did not match
})
