package hashworker

import "time"

const (
	// pauseEvery is how long a hash in spare time goes on at least before it pauses.
	pauseEvery = time.Millisecond
	// pauseLength is the shortest for which the kernel sees a core without work. It adds some
	// 0.1 ms to it, so that a hash of 20 ms takes one more.
	pauseLength = 50 * time.Microsecond
)

// pauseMeanwhile calls nap again and again, until end is called, whenever what is computed
// lets another goroutine go first. Argon2 does that at the end of each quarter of a pass
// (RFC 9106, section 3.4: where its lanes wait for each other), of which a hash with the
// default Params has eight; hashes of other programs do when the runtime makes them, every
// 10 ms.
//
// A kernel that has a hash to run on a core leaves threads of the server that wait for
// another one where they are, and may prefer it to those that wait there; it sees to them
// when the hash sleeps. See docs/decisions/0027.
func pauseMeanwhile(nap func()) (end func()) {
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(pauseEvery):
				nap()
			}
		}
	}()
	return func() { close(done) }
}
