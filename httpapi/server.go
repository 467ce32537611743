package httpapi

import (
	"net/http"
	"time"
)

// NewServer returns a server with a bound on everything a client can make it
// wait for or keep in memory. Stop it with Shutdown, which finishes what has
// begun.
func NewServer(addr string, handler http.Handler) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      handlerTimeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,

		// "OPTIONS *" is answered by the handler, like everything else.
		DisableGeneralOptionsHandler: true,
	}
}
