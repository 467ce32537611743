// Package interop tries clients and resource servers that others have written,
// unmodified, against the real binary over TLS.
package interop
