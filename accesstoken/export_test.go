package accesstoken

// VerifyJWS is the part of Verify that judges a JWS: form, header, algorithm,
// key and signature. It is the code that Verify runs, for tokens without typ.
func VerifyJWS(token string, keys func(keyID string) (PublicKey, bool)) ([]byte, error) {
	return authenticate(token, "", keys)
}
