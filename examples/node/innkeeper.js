// Verifies Innkeeper's access tokens (RFC 9068) in Node.
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import { followRevocations } from './revocations.js'

// What says something about the token. Anything else, like an issuer that does not
// answer, is no reason to refuse it for good.
const verdicts = [
  errors.JWTExpired, errors.JWTClaimValidationFailed, errors.JWTInvalid, errors.JWSInvalid,
  errors.JWSSignatureVerificationFailed, errors.JOSEAlgNotAllowed, errors.JOSENotSupported, errors.JWKSNoMatchingKey,
]

// Refusal is what to answer to a request that is not let through.
export class Refusal extends Error {
  constructor(status, code, challenge, options) {
    super(code, options)
    Object.assign(this, { status, code, challenge })
  }
}
const invalid = (code, cause) => new Refusal(401, code, 'Bearer error="invalid_token"', { cause })
const unavailable = (cause) => new Refusal(503, 'unavailable', undefined, { cause })

// verifier returns verify, which takes the value of an Authorization header and
// returns the claims of the token or throws a Refusal.
export function verifier({ issuer, audience = issuer, onError }) {
  const at = (path) => issuer.replace(/\/$/, '') + path
  const keys = createRemoteJWKSet(new URL(at('/.well-known/jwks.json')))
  const revocations = followRevocations(at('/auth/revocations'), onError)
  const verify = async (authorization) => {
    const token = /^Bearer ([\w.~+/-]+=*)$/i.exec(authorization ?? '')?.[1]
    if (!token) throw new Refusal(401, 'access_token_invalid', 'Bearer')
    let verified
    try {
      verified = await jwtVerify(token, keys, {
        issuer, audience, typ: 'at+jwt', algorithms: ['ES256', 'RS256', 'EdDSA'],
        requiredClaims: ['sub', 'exp', 'sid', 'epoch'], clockTolerance: 30,
      })
    } catch (error) {
      if (error instanceof errors.JWTExpired) throw invalid('access_token_expired', error)
      throw verdicts.some((verdict) => error instanceof verdict) ? invalid('access_token_invalid', error) : unavailable(error)
    }
    if (!revocations.ready) throw unavailable(new Error('nothing is known of revocations yet'))
    if (revocations.isRevoked(verified.payload, verified.protectedHeader.kid)) throw invalid('access_token_revoked')
    return verified.payload
  }
  return { verify, revocations, close: revocations.close }
}
