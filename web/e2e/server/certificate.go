package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net"
	"net/http"
	"time"
)

// certificateAuthority signs for the https of every inn. It is made at start and
// dies with the process.
type certificateAuthority struct {
	leaf tls.Certificate
	pool *x509.CertPool
	spki string // base64 of SHA-256 of the authority's public key
}

func newCertificateAuthority(now time.Time) (*certificateAuthority, error) {
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Innkeeper test authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	rootBytes, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "inn.localhost"},
		DNSNames: []string{"localhost", "*.inn.localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leafBytes, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	publicKey, err := x509.MarshalPKIXPublicKey(rootKey.Public())
	if err != nil {
		return nil, err
	}
	rootCertificate, err := x509.ParseCertificate(rootBytes)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(rootCertificate)
	sum := sha256.Sum256(publicKey)
	return &certificateAuthority{
		pool: pool,
		leaf: tls.Certificate{Certificate: [][]byte{leafBytes, rootBytes}, PrivateKey: leafKey},
		spki: base64.StdEncoding.EncodeToString(sum[:]),
	}, nil
}

// server returns what a server of https needs.
func (ca *certificateAuthority) server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{ca.leaf}, MinVersion: tls.VersionTLS13}
}

// client returns one that trusts the authority and finds every host at one address:
// names below localhost are known to browsers, and not to every resolver.
func (ca *certificateAuthority) client(addr net.Addr) *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS13},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr.String())
		},
	}}
}
