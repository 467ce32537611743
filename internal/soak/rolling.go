package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// rolling restarts the nodes of an inn one after the other, as an upgrade does, and
// tells what the clients noticed.
func rolling(ctx context.Context, out io.Writer, s settings) error {
	return s.withInn(ctx, func(i *inn) error {
		page, restarts, err := rollingRestart(ctx, i, 24, s.restarts)
		fmt.Fprintf(out, "%s: %d restarts of %d nodes, one at a time (%.1f s each): %d refreshes, %d failed, %d tries repeated at the next node, %d answers of 503; the longest refresh took %s, all tries included\n",
			s.store, s.restarts, len(i.nodes), restarts.Seconds()/float64(max(1, s.restarts)),
			page.refreshes, len(page.problems), page.retries, page.unavailable, page.longest.Round(time.Millisecond))
		return errors.Join(append(page.problems, err, i.complaints())...)
	})
}

// rollingRestart stops one node after the other under load, waits for its end,
// starts it and waits until it is ready. It returns what the clients have seen, and
// how long the restarts took.
func rollingRestart(ctx context.Context, i *inn, clients, restarts int) (page, time.Duration, error) {
	d := &diary{}
	regulars, err := newRegulars(ctx, i.urls(), clients, d)
	if err != nil {
		return page{}, 0, err
	}
	living, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		liveAll(living, regulars, 5*time.Millisecond)
	}()
	begin := time.Now()
	for k := range restarts {
		n := i.nodes[k%len(i.nodes)]
		if err = errors.Join(n.stop(), n.start(ctx)); err != nil {
			break
		}
	}
	took := time.Since(begin)
	stop()
	<-done
	if err == nil {
		err = goOnAll(ctx, regulars, regularPatience)
	}
	return d.turn(), took, err
}
