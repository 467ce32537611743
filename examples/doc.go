// Package examples has no code of its own: the examples are in the directories below,
// and its tests look after the files that no compiler sees.
//
//   - chi, gin, echo: an API in Go, with package verify
//   - react: an app in React with its API in Go, under one host
//   - node: an API in Node, which verifies tokens and follows revocations by itself
//   - magiclink: a back end that signs people in by itself, and leaves their sessions to
//     Innkeeper
//   - mobile: a session on a phone, in Swift and Kotlin, and what each answer means to it
//   - nginx, traefik, envoy: gateways in front of an API that knows nothing of tokens
//
// docs/verify.md, docs/other-stacks.md, docs/gateways.md, docs/clients/mobile.md and
// docs/your-own-login.md explain them. The Go examples are run so, beside a server:
//
//	go run ../cmd/innkeeper demo &
//	ISSUER=http://localhost:8080 go run ./chi
//
// They are a module of their own: the frameworks are no dependencies of Innkeeper.
package examples
