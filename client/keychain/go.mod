module github.com/innkeeper-auth/innkeeper/client/keychain

go 1.26.0

require (
	github.com/innkeeper-auth/innkeeper v0.0.0
	github.com/zalando/go-keyring v0.2.8
)

require (
	github.com/danielgtaylor/huma/v2 v2.37.2 // indirect
	github.com/danieljoos/wincred v1.2.3 // indirect
	github.com/dunglas/httpsfv v1.1.2 // indirect
	github.com/go-jose/go-jose/v4 v4.1.8 // indirect
	github.com/godbus/dbus/v5 v5.2.2 // indirect
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	github.com/rs/cors v1.11.1 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

// It is tried against the Innkeeper that it lies beside. Leave this line out of a
// program of your own.
replace github.com/innkeeper-auth/innkeeper => ../../
