export function Key() {
  return (
    <svg className="key" viewBox="0 0 12 20" aria-hidden="true">
      <circle cx="6" cy="5" r="3.6" />
      <path d="M6 8.6V18.6M6 18.4h3.2M6 14.6h2.4" />
    </svg>
  )
}

function Letter() {
  return (
    <svg className="letter" viewBox="0 0 32 21" aria-hidden="true">
      <rect width="32" height="21" rx="1.5" />
      <path d="M1 1.5 16 12.5 31 1.5" />
    </svg>
  )
}

// Rack is the wall behind the front desk. It only decorates.
export function Rack() {
  return (
    <div className="rack" aria-hidden="true">
      {[...'k.e.kk.ke.k..kek.e.kk.k.'].map((content, hole) => (
        <span key={hole}>
          {content === 'k' && <Key />}
          {content === 'e' && <Letter />}
        </span>
      ))}
    </div>
  )
}
