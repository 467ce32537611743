package demo

// recent is a map that forgets its oldest entries: whatever a visitor does, the
// demo does not grow. It is not safe for concurrent use.
type recent[K comparable, V any] struct {
	limit  int
	order  []K // oldest first
	values map[K]V
}

func newRecent[K comparable, V any](limit int) *recent[K, V] {
	return &recent[K, V]{limit: limit, values: make(map[K]V)}
}

func (m *recent[K, V]) get(key K) (V, bool) {
	value, ok := m.values[key]
	return value, ok
}

// put stores a value. A key that is known keeps its age.
func (m *recent[K, V]) put(key K, value V) {
	if _, known := m.values[key]; !known {
		m.order = append(m.order, key)
	}
	m.values[key] = value
	if len(m.order) > m.limit {
		delete(m.values, m.order[0])
		m.order = m.order[1:]
	}
}
