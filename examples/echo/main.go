// Command echo is an API on github.com/labstack/echo that takes Innkeeper's access
// tokens.
package main

import (
	"log"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/innkeeper-auth/innkeeper/verify"
)

// newHandler is the API. Echo brings the adapter for middleware of net/http, which
// keeps the request that carries the identity.
func newHandler(v *verify.Verifier) http.Handler {
	e := echo.New()
	e.Use(echo.WrapMiddleware(v.RequireAuth)) // all below
	e.GET("/me", me)
	e.GET("/mail", say("hello"), echo.WrapMiddleware(permission(v, "mail:read")))
	e.GET("/admin", say("the keys to everything"), echo.WrapMiddleware(role(v, "admin")))
	e.POST("/transfer", say("sent"), echo.WrapMiddleware(recent(v)))
	return e
}

func role(v *verify.Verifier, name string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return v.RequireRole(name, next) }
}

func permission(v *verify.Verifier, name string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return v.RequirePermission(name, next) }
}

// recent wants a password that was typed within ten minutes, and revocations that are
// known up to five seconds ago.
func recent(v *verify.Verifier) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return v.RequireFresh(5*time.Second, v.RequireRecentAuth(10*time.Minute, next))
	}
}

func me(c *echo.Context) error {
	id, _ := verify.FromContext(c.Request().Context())
	return c.JSON(http.StatusOK, map[string]string{"subject": id.Subject, "username": id.Username})
}

func say(what string) echo.HandlerFunc {
	return func(c *echo.Context) error { return c.JSON(http.StatusOK, what) }
}

func main() {
	v, err := verify.New(verify.Config{
		Issuer:            os.Getenv("ISSUER"), // http://localhost:8080
		FollowRevocations: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: "localhost:8081", Handler: newHandler(v), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}
