package innkeeper

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// WebhookDeliveryState says what becomes of a delivery that did not succeed at once.
type WebhookDeliveryState string

// The states.
const (
	WebhookPending WebhookDeliveryState = "pending" // it is tried again
	WebhookDead    WebhookDeliveryState = "dead"    // it was given up, until somebody says otherwise
)

// Valid reports whether s is one of the states.
func (s WebhookDeliveryState) Valid() bool { return s == WebhookPending || s == WebhookDead }

// WebhookDelivery is one event on its way to one webhook, after it has failed there.
type WebhookDelivery struct {
	ID        string // the `webhook-id`: the same at every try, and for every webhook
	WebhookID WebhookID
	Kind      EventKind
	EventAt   time.Time
	Body      []byte // what is sent, byte for byte
	State     WebhookDeliveryState
	Attempts  int
	NextAt    time.Time // when it is tried again; when it was given up
	TriedAt   time.Time // when it was tried last
	LastError string
}

// WebhookMessage is one try to deliver.
type WebhookMessage struct {
	URL     string
	ID      string
	At      time.Time       // of the try
	Secrets []WebhookSecret // all of them sign; at least one
	Body    []byte          // JSON
}

// WebhookSender carries messages.
type WebhookSender interface {
	// Send returns nil if the receiver has confirmed the message, and the error of ctx if
	// it ended. A [*WebhookRefusedError] says what the receiver has answered instead. Of
	// other errors the text is kept for people, so it names neither URL nor secret.
	Send(ctx context.Context, message WebhookMessage) error
}

// WebhookRefusedError reports an answer that does not confirm a message.
type WebhookRefusedError struct {
	Status     int           // of HTTP
	RetryAfter time.Duration // how long the receiver wants to be left alone; zero: it has not said
}

func (e *WebhookRefusedError) Error() string { return fmt.Sprintf("answered %d", e.Status) }

// gone is the status by which a receiver says: never again (RFC 9110 section 15.5.11).
const gone = 410

// How patient deliveries are. Twelve tries take 22 and a half hours.
const (
	webhookPoll      = time.Second
	sendTimeout      = 15 * time.Second
	sendGrace        = 3 * time.Second  // of what is under way when a server stops
	webhookLease     = 30 * time.Second // longer than a try and the note of it
	maxAttempts      = 12
	firstRetry       = 5 * time.Second
	retryFactor      = 3
	maxRetry         = 6 * time.Hour
	firstRest        = 5 * time.Second // after two failures in a row
	maxRest          = 5 * time.Minute
	maxRetryAfter    = 6 * time.Hour
	maxSkipped       = 1000 // events that a webhook does not want, until that is noted
	maxDeliveryError = 200  // bytes
)

// retryDelay is how long to wait after so many tries, give or take a fifth: deliveries
// that failed together must not come back together.
func retryDelay(attempts int) time.Duration {
	delay := firstRetry
	for range attempts - 1 {
		delay = min(delay*retryFactor, maxRetry)
	}
	return (delay*4/5 + rand.N(delay*2/5)).Truncate(time.Microsecond) //nolint:gosec // spreads work, and guards nothing
}

// restDelay is how long a webhook is left alone after so many failures in a row. One
// event that a receiver cannot digest holds nothing up; a receiver that is down is asked
// less and less, and what it misses stays in the log, where it costs nothing.
func restDelay(failures int) time.Duration {
	if failures < 2 {
		return 0
	}
	rest := firstRest
	for range failures - 2 {
		rest = min(rest*2, maxRest)
	}
	return rest
}

// runDeliveries delivers until ctx ends. There is one delivery under way for each
// webhook, by whichever server has the lease of it: a slow receiver delays itself.
func (a *Authority) runDeliveries(ctx context.Context) {
	d := &dispatcher{Authority: a, owner: newTokenID(), busy: make(map[WebhookID]bool), skipped: make(map[WebhookID]int64)}
	for ctx.Err() == nil {
		_ = d.round(ctx) // what fails is tried again in the next one
		// Servers that were started together must not march in step.
		_ = rest(ctx, webhookPoll*4/5+rand.N(webhookPoll*2/5)) //nolint:gosec // spreads work, and guards nothing
	}
	d.working.Wait()
}

// dispatcher is the deliveries of one server.
type dispatcher struct {
	*Authority
	owner   string
	working sync.WaitGroup

	mu      sync.Mutex
	busy    map[WebhookID]bool  // we are at it
	skipped map[WebhookID]int64 // up to here in the log is nothing for it
}

// round looks which webhooks have something to be told, and begins to tell them.
func (d *dispatcher) round(ctx context.Context) error {
	hooks, err := d.Webhooks(ctx)
	if err != nil || len(hooks) == 0 {
		return err
	}
	last, err := d.LastEvent(ctx)
	if err != nil {
		return err
	}
	for i := range hooks {
		if err := d.begin(ctx, &hooks[i], last); err != nil {
			return err
		}
	}
	return nil
}

// begin takes the lease of a webhook and tells it what there is, if there is anything.
func (d *dispatcher) begin(ctx context.Context, hook *Webhook, last int64) error {
	now := d.now()
	if d.isBusy(hook.ID) || now.Before(hook.LeaseUntil) || now.Before(hook.RestUntil) {
		return nil
	}
	if hook.NextRetry.IsZero() || now.Before(hook.NextRetry) {
		found, err := d.look(ctx, hook, last)
		if err != nil || !found {
			return err
		}
	}
	held, err := d.stores.Webhooks.ClaimWebhook(ctx, WebhookClaim{ID: hook.ID, Owner: d.owner, At: now, Until: now.Add(webhookLease)})
	switch {
	case errors.Is(err, ErrNoMatch):
		return nil // another server was faster
	case err != nil:
		return fmt.Errorf("claim webhook: %w", err)
	}
	d.setBusy(held.ID, true)
	d.working.Go(func() {
		defer d.setBusy(held.ID, false)
		d.deliver(ctx, &held, last)
	})
	return nil
}

func (d *dispatcher) isBusy(id WebhookID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.busy[id]
}

func (d *dispatcher) setBusy(id WebhookID, is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if is {
		d.busy[id] = true
	} else {
		delete(d.busy, id)
	}
}

// look reports whether the log has anything for a webhook. If it has not, only we
// remember that, most of the time: a note in the store would cost more than to look
// again after a restart.
func (d *dispatcher) look(ctx context.Context, hook *Webhook, last int64) (bool, error) {
	from := d.from(hook)
	for from < last {
		page, next, err := d.page(ctx, from, last)
		if err != nil || slices.ContainsFunc(page, func(e Event) bool { return hook.wants(&e) }) {
			return err == nil, err
		}
		from = next
		d.mu.Lock()
		d.skipped[hook.ID] = from
		d.mu.Unlock()
		if from-hook.Cursor > maxSkipped {
			return true, nil
		}
	}
	return false, nil
}

// from is where in the log a webhook goes on.
func (d *dispatcher) from(hook *Webhook) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(hook.Cursor, d.skipped[hook.ID])
}

// page reads the log after a cursor, up to where it is complete, and returns the cursor
// after that.
func (d *dispatcher) page(ctx context.Context, after, last int64) ([]Event, int64, error) {
	events, err := d.stores.Events.Events(ctx, EventQuery{After: after, Before: last + 1, Limit: MaxEventPage})
	switch {
	case err != nil:
		return nil, after, fmt.Errorf("read events: %w", err)
	case len(events) < MaxEventPage:
		return events, last, nil
	}
	return events, events[len(events)-1].Seq, nil
}

// deliver tells a webhook of which we have the lease what is due, and then what is new,
// until it has to rest; and lets go of it.
func (d *dispatcher) deliver(ctx context.Context, hook *Webhook, last int64) {
	hook.Cursor = d.from(hook)
	if d.retry(ctx, hook) {
		d.tell(ctx, hook, last)
	}
	state := hook.WebhookState
	state.LeaseUntil = time.Time{}
	_ = d.note(ctx, WebhookProgress{ID: hook.ID, Owner: d.owner, State: state}) // else the lease runs out
}

// retry tries again what has failed before and is due. It reports whether to go on.
func (d *dispatcher) retry(ctx context.Context, hook *Webhook) bool {
	for {
		due, err := d.stores.Deliveries.Deliveries(ctx, WebhookDeliveryQuery{
			WebhookID: hook.ID, State: WebhookPending, DueAt: d.now(), Limit: 1,
		})
		if err != nil || len(due) == 0 {
			return err == nil
		}
		if !d.try(ctx, hook, due[0], hook.Cursor) {
			return false
		}
	}
}

// tell goes on in the log, event by event.
func (d *dispatcher) tell(ctx context.Context, hook *Webhook, last int64) {
	for hook.Cursor < last {
		page, next, err := d.page(ctx, hook.Cursor, last)
		if err != nil {
			return
		}
		for i := range page {
			if !hook.wants(&page[i]) {
				continue
			}
			delivery, err := newDelivery(hook.ID, &page[i])
			if err != nil || !d.try(ctx, hook, delivery, page[i].Seq) {
				return
			}
		}
		hook.Cursor = next
	}
}

// try sends one message and notes what has come of it, in this order: a server that
// dies in between sends it again, under the same ID. It reports whether to go on.
func (d *dispatcher) try(ctx context.Context, hook *Webhook, delivery WebhookDelivery, cursor int64) bool {
	if ctx.Err() != nil {
		return false
	}
	sent := d.send(ctx, hook, &delivery)
	if errors.Is(sent, context.Canceled) {
		return false // we stop: whether it has arrived is unknown, and not the receiver's fault
	}
	now := d.now()
	progress := WebhookProgress{ID: hook.ID, Owner: d.owner, State: hook.WebhookState}
	progress.State.Cursor = cursor
	progress.State.LeaseUntil = now.Add(webhookLease)
	if sent == nil {
		progress.State.succeeded(now)
		progress.Done = delivery.ID
	} else {
		delivery.failed(now, sent)
		progress.State.failed(now, sent)
		progress.Put = &delivery
	}
	if d.note(ctx, progress) != nil {
		return false
	}
	hook.WebhookState = progress.State
	if delivery.State == WebhookDead {
		d.mourn(ctx, &delivery)
	}
	return !now.Before(hook.RestUntil)
}

// send sends one message. When ctx ends it has a moment to arrive.
func (d *dispatcher) send(ctx context.Context, hook *Webhook, delivery *WebhookDelivery) error {
	now := d.now()
	secrets, err := d.secrets(hook, now)
	if err != nil {
		return err
	}
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(sendGrace, cancel) })
	defer stop()
	return d.courier.Send(sending, WebhookMessage{URL: hook.URL, ID: delivery.ID, At: now, Secrets: secrets, Body: delivery.Body})
}

// note writes down what was done, also when ctx has ended meanwhile.
func (d *dispatcher) note(ctx context.Context, progress WebhookProgress) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	return d.stores.Webhooks.AdvanceWebhook(ctx, progress)
}

// mourn tells the log that a delivery was given up.
func (d *dispatcher) mourn(ctx context.Context, delivery *WebhookDelivery) {
	event := d.webhookEvent(EventDeliveryGivenUp, ActorServer, delivery.WebhookID)
	event.Detail["delivery"], event.Detail["kind"], event.Detail["error"] = delivery.ID, string(delivery.Kind), delivery.LastError
	_ = d.log(context.WithoutCancel(ctx), event) // the delivery itself says so too
	d.observe(ctx, event)
}

func (s *WebhookState) succeeded(now time.Time) {
	s.Failures, s.RestUntil, s.DeliveredAt = 0, time.Time{}, now
}

func (s *WebhookState) failed(now time.Time, cause error) {
	s.Failures++
	s.FailedAt, s.LastError = now, deliveryError(cause)
	s.RestUntil = now.Add(max(restDelay(s.Failures), retryAfter(cause)))
}

func (d *WebhookDelivery) failed(now time.Time, cause error) {
	d.Attempts++
	d.TriedAt, d.LastError = now, deliveryError(cause)
	d.NextAt = now.Add(max(retryDelay(d.Attempts), retryAfter(cause)))
	var refused *WebhookRefusedError
	if d.Attempts >= maxAttempts || errors.As(cause, &refused) && refused.Status == gone {
		d.State, d.NextAt = WebhookDead, now
	}
}

// retryAfter is how long a receiver wants to be left alone, within reason.
func retryAfter(cause error) time.Duration {
	var refused *WebhookRefusedError
	if !errors.As(cause, &refused) {
		return 0
	}
	return min(max(refused.RetryAfter, 0), maxRetryAfter)
}

// deliveryError is what is kept of an error. Some of it was written by strangers.
func deliveryError(cause error) string {
	text := Client{UserAgent: cause.Error()}.bounded().UserAgent
	return text[:min(len(text), maxDeliveryError)]
}

// eventFacts are what a webhook is told of an event: what GET /admin/events says, but
// for its place in the log, which is no business of others and changes when the log
// moves to another database.
type eventFacts struct {
	At        time.Time         `json:"at"`
	Kind      EventKind         `json:"kind"`
	Actor     Actor             `json:"actor,omitempty"`
	UserID    *UserID           `json:"user_id,omitempty"`
	SessionID *SessionID        `json:"session_id,omitempty"`
	Reason    Reason            `json:"reason,omitempty"`
	IP        string            `json:"ip,omitempty"`
	UserAgent string            `json:"user_agent,omitempty"`
	Detail    map[string]string `json:"detail,omitempty"`
}

func factsOf(event *Event) eventFacts {
	facts := eventFacts{
		At: event.At, Kind: event.Kind, Actor: event.Actor, Reason: event.Reason,
		UserAgent: event.Client.UserAgent, Detail: maps.Clone(event.Detail),
	}
	if event.UserID != (UserID{}) {
		facts.UserID = &event.UserID
	}
	if event.SessionID != (SessionID{}) {
		facts.SessionID = &event.SessionID
	}
	if event.Client.Addr.IsValid() {
		facts.IP = event.Client.Addr.String()
	}
	return facts
}

// newDelivery makes the message of an event, as Standard Webhooks wants it. Its ID is
// made of the facts alone, so that it is the same at every try, by whichever server,
// and after a move to another database.
func newDelivery(hook WebhookID, event *Event) (WebhookDelivery, error) {
	facts := factsOf(event)
	canonical, err := json.Marshal(facts)
	if err != nil {
		return WebhookDelivery{}, fmt.Errorf("encode event: %w", err)
	}
	body, err := json.Marshal(struct {
		Type      EventKind  `json:"type"`
		Timestamp time.Time  `json:"timestamp"`
		Data      eventFacts `json:"data"`
	}{event.Kind, event.At, facts})
	if err != nil {
		return WebhookDelivery{}, fmt.Errorf("encode event: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return WebhookDelivery{
		ID: "msg_" + tokenEncoding.EncodeToString(sum[:16]), WebhookID: hook, Kind: event.Kind, EventAt: event.At,
		Body: body, State: WebhookPending, NextAt: event.At,
	}, nil
}

// Deliveries lists what one webhook has not been told: what is tried again, or what was
// given up, or both with an empty state, in the order of the time of the next try. A
// page holds at most 100 of them; page on with after = the last one. It returns
// [ErrNotFound].
func (a *Authority) Deliveries(ctx context.Context, id WebhookID, state WebhookDeliveryState, after *WebhookDelivery) ([]WebhookDelivery, error) {
	if state != "" && !state.Valid() {
		return nil, &InputError{Field: "state", Detail: `choose "pending" or "dead"`}
	}
	if _, err := a.webhook(ctx, id); err != nil {
		return nil, err
	}
	deliveries, err := a.stores.Deliveries.Deliveries(ctx, WebhookDeliveryQuery{WebhookID: id, State: state, After: after, Limit: pageSize})
	if err != nil {
		return nil, unavailable(fmt.Errorf("list deliveries: %w", err))
	}
	return deliveries, nil
}

// RetryDeliveries has one delivery tried again at once and with new patience, whatever
// its state, or, with an empty ID, all that were given up. It returns how many these
// are, or [ErrNotFound] if there is no such webhook, or no delivery of that ID.
func (a *Authority) RetryDeliveries(ctx context.Context, hook WebhookID, id string, by By) (int, error) {
	if _, err := a.webhook(ctx, hook); err != nil {
		return 0, err
	}
	event := a.webhookEvent(EventWebhookRetried, by, hook)
	if id != "" {
		event.Detail["delivery"] = id
	}
	n, err := a.stores.Deliveries.RetryDeliveries(ctx, WebhookDeliveryRetry{WebhookID: hook, ID: id, At: event.At, Event: event})
	switch {
	case err != nil:
		return 0, unavailable(fmt.Errorf("retry deliveries: %w", err))
	case n == 0 && id != "":
		return 0, ErrNotFound
	case n > 0:
		a.observe(ctx, event)
	}
	return n, nil
}
