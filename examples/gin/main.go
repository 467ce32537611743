// Command gin is an API on github.com/gin-gonic/gin that takes Innkeeper's access
// tokens.
package main

import (
	"log"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/innkeeper-auth/innkeeper/verify"
)

// guard makes a middleware of net/http one of gin. The context of gin goes on with
// the request that carries the identity; a request that is refused goes no further.
func guard(middleware func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r
			c.Next()
		})
		middleware(next).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}

// newHandler is the API.
func newHandler(v *verify.Verifier) http.Handler {
	r := gin.New()
	r.Use(gin.Recovery(), guard(v.RequireAuth)) // all below
	r.GET("/me", me)
	r.GET("/mail", guard(permission(v, "mail:read")), say("hello"))
	r.GET("/admin", guard(role(v, "admin")), say("the keys to everything"))
	r.POST("/transfer", guard(recent(v)), say("sent"))
	return r
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

func me(c *gin.Context) {
	id, _ := verify.FromContext(c.Request.Context())
	c.JSON(http.StatusOK, gin.H{"subject": id.Subject, "username": id.Username})
}

func say(what string) gin.HandlerFunc {
	return func(c *gin.Context) { c.JSON(http.StatusOK, what) }
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
