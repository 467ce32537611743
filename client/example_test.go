package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/innkeeper-auth/innkeeper/client"
)

// A command line that stays signed in from one run to the next.
func Example() {
	config, err := os.UserConfigDir()
	if err != nil {
		panic(err)
	}
	store, err := client.NewFileStore(filepath.Join(config, "mail", "session.json"))
	if err != nil {
		panic(err)
	}
	source, err := client.New(client.Config{Server: "https://auth.example.com", Store: store})
	if err != nil {
		panic(err)
	}
	defer source.Close()

	api, err := source.HTTPClient("https://api.example.com")
	if err != nil {
		panic(err)
	}
	resp, err := api.Get("https://api.example.com/mail")
	switch {
	case errors.Is(err, client.ErrSignedOut):
		fmt.Println("sign in first")
	case errors.Is(err, client.ErrUnavailable):
		fmt.Println("try again later")
	case err != nil:
		panic(err)
	default:
		fmt.Println(resp.Status)
		resp.Body.Close()
	}
}

// What a program does about an error depends on two questions only.
func ExampleSource_Token() {
	source, err := client.New(client.Config{Server: "https://auth.example.com", Store: client.NewMemoryStore()})
	if err != nil {
		panic(err)
	}
	defer source.Close()

	_, err = source.Token(context.Background())
	fmt.Println(errors.Is(err, client.ErrSignedOut), errors.Is(err, client.ErrUnavailable))
	fmt.Println(err)

	// Output:
	// true false
	// signed out: no_session
}

// A transport of one's own below, and tokens for two origins.
func ExampleNewTransport() {
	source, err := client.New(client.Config{Server: "https://auth.example.com", Store: client.NewMemoryStore()})
	if err != nil {
		panic(err)
	}
	defer source.Close()

	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = 64
	transport, err := client.NewTransport(source, client.TransportConfig{
		Origins: []string{"https://api.example.com", "https://files.example.com:8443"},
		Base:    base,
	})
	if err != nil {
		panic(err)
	}
	api := &http.Client{Transport: transport}
	_ = api

	_, err = client.NewTransport(source, client.TransportConfig{Origins: []string{"http://api.example.com"}})
	fmt.Println(err)

	// Output:
	// origin "http://api.example.com": https is required, except for localhost
}

// Tokens do not get into logs by accident.
func ExampleSecret() {
	secret := client.NewSecret("ikr_and-so-on")
	fmt.Println(secret)
	fmt.Printf("%+v\n", struct{ Token client.Secret }{secret})
	fmt.Println(len(secret.Reveal()))

	// Output:
	// [redacted]
	// {Token:[redacted]}
	// 13
}
