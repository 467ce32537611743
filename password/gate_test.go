package password

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/innkeeper-auth/innkeeper/internal/bubble"
)

// caller is someone at a gate.
type caller struct {
	line   int
	slots  int
	cancel context.CancelFunc
	result chan error
}

// gateModel says in the plainest way who should be inside and who should wait.
type gateModel struct {
	ctx             context.Context // ends with the run, so that nobody is left behind
	gate            *gate
	inside, waiting []*caller // those in the first line wait before those in the second
}

// inLine counts those who wait in a line.
func (m *gateModel) inLine(line int) (n int) {
	for _, c := range m.waiting {
		if c.line == line {
			n++
		}
	}
	return n
}

func (m *gateModel) used() (slots int) {
	for _, c := range m.inside {
		slots += c.slots
	}
	return slots
}

// settle moves those who fit from the head of the line inside.
func (m *gateModel) settle() {
	for len(m.waiting) > 0 && m.used()+m.waiting[0].slots <= m.gate.capacity {
		m.inside = append(m.inside, m.waiting[0])
		m.waiting = m.waiting[1:]
	}
}

func (m *gateModel) arrive(rt *rapid.T) {
	ctx, cancel := context.WithCancel(m.ctx)
	c := &caller{
		line:   rapid.IntRange(firstLine, secondLine).Draw(rt, "line"),
		slots:  rapid.IntRange(1, m.gate.capacity).Draw(rt, "slots"),
		cancel: cancel,
		result: make(chan error, 1),
	}
	place := len(m.waiting) // behind everybody, or behind the first line
	if c.line == firstLine {
		place = m.inLine(firstLine)
	}
	full := m.inLine(c.line) >= m.gate.queue && (place > 0 || m.used()+c.slots > m.gate.capacity)
	go func() { c.result <- m.gate.enter(ctx, c.line, c.slots) }()
	synctest.Wait()
	if full {
		cancel()
		if err := <-c.result; !errors.Is(err, ErrBusy) {
			rt.Fatalf("at a full gate: got %v, want ErrBusy", err)
		}
		return
	}
	m.waiting = slices.Insert(m.waiting, place, c)
}

func (m *gateModel) leave(rt *rapid.T) {
	if len(m.inside) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.inside)-1).Draw(rt, "who leaves")
	c := m.inside[i]
	m.inside = slices.Delete(m.inside, i, i+1)
	c.cancel() // too late to matter
	m.gate.leave(c.slots)
}

func (m *gateModel) giveUp(rt *rapid.T) {
	if len(m.waiting) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.waiting)-1).Draw(rt, "who gives up")
	c := m.waiting[i]
	m.waiting = slices.Delete(m.waiting, i, i+1)
	c.cancel()
	if err := <-c.result; !errors.Is(err, context.Canceled) {
		rt.Fatalf("gave up: got %v, want context.Canceled", err)
	}
}

// giveUpWhenAdmitted cancels the head of the line in the moment of its turn.
func (m *gateModel) giveUpWhenAdmitted(rt *rapid.T) {
	if len(m.waiting) == 0 {
		return
	}
	c := m.waiting[0]
	m.waiting = m.waiting[1:]
	c.cancel()
	m.leave(rt)
	if err := <-c.result; !errors.Is(err, context.Canceled) {
		rt.Fatalf("gave up in its turn: got %v, want context.Canceled", err)
	}
}

func (m *gateModel) check(rt *rapid.T) {
	synctest.Wait()
	m.settle()
	for _, c := range m.inside {
		select {
		case err := <-c.result:
			if err != nil {
				rt.Fatalf("admitted: %v", err)
			}
			c.result <- nil
		default:
			rt.Fatal("someone who fits is kept waiting")
		}
	}
	for _, c := range m.waiting {
		if len(c.result) != 0 {
			rt.Fatal("someone got in before their turn")
		}
	}
	if m.gate.free != m.gate.capacity-m.used() || len(m.gate.lines[firstLine]) != m.inLine(firstLine) || len(m.gate.lines[secondLine]) != m.inLine(secondLine) {
		rt.Fatalf("%d free, %v waiting, want %d and %v",
			m.gate.free, m.gate.lines, m.gate.capacity-m.used(), m.waiting)
	}
}

func TestGateAgainstModel(t *testing.T) {
	// Inside a bubble a test has no deadline, and rapid asks for one if it can.
	type withoutDeadline struct{ rapid.TB }
	bubble.Test(t, func(t *testing.T) {
		rapid.Check(withoutDeadline{t}, func(rt *rapid.T) {
			capacity := rapid.IntRange(1, 4).Draw(rt, "capacity")
			ctx, cancel := context.WithCancel(context.Background())
			defer synctest.Wait()
			defer cancel()
			m := &gateModel{ctx: ctx, gate: newGate(capacity, rapid.IntRange(0, 4).Draw(rt, "queue"))}
			rt.Repeat(map[string]func(*rapid.T){
				"arrive":                m.arrive,
				"leave":                 m.leave,
				"give up":               m.giveUp,
				"give up when admitted": m.giveUpWhenAdmitted,
				"":                      m.check,
			})
			for len(m.waiting)+len(m.inside) > 0 {
				m.giveUp(rt)
				m.check(rt)
				m.leave(rt)
				m.check(rt)
			}
		})
	})
}
