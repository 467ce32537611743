package demo

import "testing"

func TestRecentForgetsTheOldest(t *testing.T) {
	m := newRecent[int, string](2)
	m.put(1, "one")
	m.put(2, "two")
	m.put(1, "one again")
	m.put(3, "three")
	if _, ok := m.get(1); ok {
		t.Error("the oldest is still there")
	}
	if text, _ := m.get(2); text != "two" {
		t.Errorf("2 is %q", text)
	}
	if len(m.order) != 2 || len(m.values) != 2 {
		t.Errorf("holds %d and %d", len(m.order), len(m.values))
	}
}
