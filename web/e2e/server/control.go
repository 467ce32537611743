package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// control opens inns and works their switches. It listens at an address of its own,
// which no fault reaches.
type control struct {
	ca  *certificateAuthority
	dir string

	mu   sync.Mutex
	last int
	inns map[string]*inn
}

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /inns", c.open)
	mux.HandleFunc("DELETE /inns/{id}", c.of(c.closeInn))
	mux.HandleFunc("GET /inns/{id}/ledger", c.of(func(i *inn, w http.ResponseWriter, r *http.Request) { i.ledger.ServeHTTP(w, r) }))
	mux.HandleFunc("PUT /inns/{id}/faults", c.of(setFaults))
	mux.HandleFunc("GET /inns/{id}/held", c.of(held))
	mux.HandleFunc("POST /inns/{id}/release", c.of(release))
	mux.HandleFunc("POST /inns/{id}/clock", c.of(advance))
	mux.HandleFunc("POST /inns/{id}/repeat/{n}", c.of(repeat))
	return mux
}

func (c *control) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.inns {
		i.close()
	}
}

// open opens an inn to the plan in the body and says where it is.
func (c *control) open(w http.ResponseWriter, r *http.Request) {
	var p plan
	if !readJSON(w, r, &p) {
		return
	}
	c.mu.Lock()
	c.last++
	id := strconv.Itoa(c.last)
	c.mu.Unlock()
	i, err := openInn(context.WithoutCancel(r.Context()), id, c.dir, c.ca, p)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	c.mu.Lock()
	c.inns[id] = i
	c.mu.Unlock()
	writeJSON(w, http.StatusCreated, i)
}

// of finds the inn that a switch belongs to.
func (c *control) of(work func(*inn, http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		i, ok := c.inns[r.PathValue("id")]
		c.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		work(i, w, r)
	}
}

func (c *control) closeInn(i *inn, w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	delete(c.inns, i.ID)
	c.mu.Unlock()
	i.close()
	w.WriteHeader(http.StatusNoContent)
}

func setFaults(i *inn, w http.ResponseWriter, r *http.Request) {
	var list []*fault
	if readJSON(w, r, &list) {
		i.faults.set(list)
		w.WriteHeader(http.StatusNoContent)
	}
}

func held(i *inn, w http.ResponseWriter, _ *http.Request) {
	all, abandoned := i.faults.held()
	writeJSON(w, http.StatusOK, map[string]int{"held": all, "abandoned": abandoned})
}

func release(i *inn, w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Drop bool `json:"drop"`
	}
	if readJSON(w, r, &asked) {
		writeJSON(w, http.StatusOK, i.faults.release(asked.Drop))
	}
}

func advance(i *inn, w http.ResponseWriter, r *http.Request) {
	var asked struct {
		By duration `json:"by"`
	}
	if readJSON(w, r, &asked) {
		i.clock.advance(time.Duration(asked.By))
		w.WriteHeader(http.StatusNoContent)
	}
}

// repeat makes the nth refresh that arrived arrive once more, as a network may do
// long after. Nobody gets the answer but the test, and of that the verdict only.
func repeat(i *inn, w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PathValue("n"))
	kept, ok := i.ledger.keptAt(n)
	if err != nil || !ok {
		http.NotFound(w, r)
		return
	}
	answer := i.desk.act(kept)
	var said struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(answer.Body.Bytes(), &said) // tokens have no code
	writeJSON(w, http.StatusOK, map[string]any{"status": answer.Code, "code": said.Code})
}

func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
