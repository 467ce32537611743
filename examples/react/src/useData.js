import { useFetch } from '@innkeeper/react'
import { useEffect, useState } from 'react'

// useData loads JSON and says what became of it. An app with more of this takes a
// library for it (SWR, TanStack Query) and gives it the same fetch.
export function useData(url) {
  const fetch = useFetch()
  const [state, set] = useState({ data: null, error: null })
  const [turn, setTurn] = useState(0)
  useEffect(() => {
    const { signal, abort } = cancellation()
    getJSON(fetch, url, signal).then(
      (data) => signal.aborted || set({ data, error: null }),
      (error) => signal.aborted || set((old) => ({ ...old, error })), // what was shown may stay
    )
    return abort
  }, [fetch, url, turn])
  return { ...state, reload: () => setTurn(turn + 1) }
}

function cancellation() {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort() }
}

async function getJSON(fetch, url, signal) {
  const response = await fetch(url, { signal })
  if (!response.ok) throw await refusal(response)
  return response.json()
}

// refusal is an answer that is not ok, as an error with the code of its problem document.
export async function refusal(response) {
  const problem = await response.json().catch(() => ({}))
  return Object.assign(new Error(problem.detail ?? response.statusText), { code: problem.code, problem })
}
