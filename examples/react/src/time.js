const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })
const units = [['day', 86_400], ['hour', 3_600], ['minute', 60]]

// ago says how long a time is past: "3 hours ago".
export function ago(time) {
  const seconds = (Date.now() - new Date(time)) / 1000
  const [unit, length] = units.find(([, length]) => seconds >= length) ?? []
  return unit ? words.format(-Math.floor(seconds / length), unit) : 'just now'
}
