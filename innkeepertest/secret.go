package innkeepertest

import "regexp"

// secret is one of our tokens, or a JWT. What comes before it is no letter of base64url,
// or ends an escape: identifiers and signatures are random, and in some thousands of
// answers one holds the letters of a prefix in the midst of one. Where one begins with
// them it is too short: an identifier has 22 characters. Nor does one go before a dot, as
// the head of a JWT does.
var secret = regexp.MustCompile(`(?:^|[^\w-]|\\[a-z])(ik[rds]_[\w-]{19,}|whsec_[\w+/-]{8,}|eyJ[\w-]{10,}\.[\w.-]+)`)

// FindSecrets returns what stands in text of refresh tokens, device tokens, access tokens
// and other JWTs, and secrets of services and webhooks; nil if nothing does. Text that
// should not hold any is what a program has logged, or shows to scripts. It goes by how
// they begin, so part of one is found as well, of a token or the secret of a service from
// 23 characters on: an identifier may begin like one and has 22. What only stands for one,
// like "ikr_[redacted]", is not found.
func FindSecrets(text string) []string {
	var found []string
	for _, match := range secret.FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}
