package testengine

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Proxy stands between a client and a server and breaks what is between them. It
// knows TCP and nothing of what goes through.
type Proxy struct {
	target string
	addr   string
	delay  atomic.Int64
	group  sync.WaitGroup // every goroutine

	mu       sync.Mutex
	listener *net.TCPListener // nil while it refuses
	links    map[*link]struct{}
	pass     chan struct{} // closed while bytes may pass
	closed   bool
}

// NewProxy starts a proxy to the address of a server, which need not run yet.
func NewProxy(target string) (*Proxy, error) {
	l, err := listenAnywhere()
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		target: target, addr: l.Addr().String(),
		listener: l, links: map[*link]struct{}{}, pass: make(chan struct{}),
	}
	close(p.pass)
	p.group.Go(func() { p.accept(l) })
	return p, nil
}

// Addr returns the address for the client, host:port.
func (p *Proxy) Addr() string { return p.addr }

// Cut resets all connections now, on both sides. New ones are welcome.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut()
	}
}

// Refuse closes the listener: whoever connects is refused. Connections that exist
// stay; Cut ends them.
func (p *Proxy) Refuse() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		return nil
	}
	err := stopListening(p.listener)
	p.listener = nil
	return err
}

// Hang makes the proxy a black hole: it accepts connections, and no byte passes in
// either direction, also of those that exist. Bytes sent meanwhile are delivered
// after Pass, as by a network that comes back; Cut drops them.
func (p *Proxy) Hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.pass:
		p.pass = make(chan struct{})
	default:
	}
}

// Freeze silences the connections that exist for good, as a firewall does that has
// forgotten them: no byte passes, nor the end of one side, and Pass does not help. New
// ones are as before; Cut resets frozen ones too.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.frozen = true
	}
}

// Delay holds every byte by d from now on, in each direction. Zero: not at all.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Pass ends what Refuse and Hang began. It fails if somebody took the port.
func (p *Proxy) Pass() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.pass:
	default:
		close(p.pass)
	}
	if p.listener != nil || p.closed {
		return nil
	}
	return eventually(func() (bool, error) {
		l, err := listen(p.addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			return false, nil
		}
		if err == nil {
			p.listener = l
			p.group.Go(func() { p.accept(l) })
		}
		return true, err
	})
}

// Close closes the listener and all connections.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.Refuse()
	p.Cut()
	p.group.Wait()
	return err
}

func (p *Proxy) accept(l *net.TCPListener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		p.serve(conn)
	}
}

func (p *Proxy) serve(client net.Conn) {
	l := &link{proxy: p, client: client}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		l.cut()
		return
	}
	p.links[l] = struct{}{}
	p.group.Go(func() {
		l.run()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	})
}

// link is a connection of a client and the one to the server that belongs to it.
type link struct {
	proxy  *Proxy
	client net.Conn
	ctx    context.Context // ends when the link is cut
	cancel context.CancelFunc
	frozen bool // guarded by proxy.mu
}

func (l *link) run() {
	defer l.cancel()
	defer hangUp(l.client)
	if !l.awaitPass() {
		return
	}
	var dialer net.Dialer
	server, err := dialer.DialContext(l.ctx, "tcp", l.proxy.target)
	if err != nil {
		l.cut()
		return
	}
	defer hangUp(server)
	defer context.AfterFunc(l.ctx, func() { reset(server) })()

	var flows sync.WaitGroup
	flows.Go(func() { l.flow(server, l.client) })
	flows.Go(func() { l.flow(l.client, server) })
	flows.Wait()
}

// cut ends the link with a reset instead of an orderly end.
func (l *link) cut() {
	l.cancel()
	reset(l.client)
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails on one that is closed already
	}
	_ = conn.Close()
}

// chunk is what was read at once, and when it may go on. No data is the end.
type chunk struct {
	data []byte
	due  time.Time
}

// flow carries one direction. Reading does not wait for what is held, so that a
// delay costs no throughput.
func (l *link) flow(to, from net.Conn) {
	held := make(chan chunk, 1024)
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() { l.read(from, held) })
	for {
		select {
		case c := <-held:
			if !l.hold(c.due) {
				return
			}
			if c.data == nil {
				end(to)
				return
			}
			if _, err := to.Write(c.data); err != nil {
				l.cut()
				return
			}
		case <-l.ctx.Done():
			return
		}
	}
}

func (l *link) read(from net.Conn, held chan<- chunk) {
	for {
		data := make([]byte, 32<<10)
		n, err := from.Read(data)
		if err != nil && !errors.Is(err, io.EOF) {
			l.cut()
			return
		}
		c := chunk{due: time.Now().Add(time.Duration(l.proxy.delay.Load()))}
		if err == nil {
			c.data = data[:n]
		}
		select {
		case held <- c:
		case <-l.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// hold waits until a chunk is due and bytes may pass, or says that they never may.
func (l *link) hold(due time.Time) bool {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return l.awaitPass()
	case <-l.ctx.Done():
		return false
	}
}

// awaitPass waits until bytes may pass, or says that they never may.
func (l *link) awaitPass() bool {
	l.proxy.mu.Lock()
	pass := l.proxy.pass
	l.proxy.mu.Unlock()
	select {
	case <-pass:
	case <-l.ctx.Done():
	}
	l.proxy.mu.Lock()
	frozen := l.frozen
	l.proxy.mu.Unlock()
	if frozen {
		<-l.ctx.Done()
	}
	return l.ctx.Err() == nil
}

// end tells a side that the other one will send no more.
func end(to net.Conn) {
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // fails on one that is closed already
	}
}
