// The three operations of a Cognito user pool that a sign-in with a code needs. None of them is signed, so no SDK is
// needed. With an SDK or Amplify, the same operations have the same fields: docs/cognito.md has the code.

/** The exception of Cognito, such as `NotAuthorizedException`. The name is `offline` if no response came. */
export class PoolError extends Error {
  constructor(name, message = '') {
    super(message)
    this.name = name
  }
}

export function userPool({ region, clientId, endpoint }) {
  async function call(operation, fields) {
    let response
    try {
      response = await fetch(endpoint || `https://cognito-idp.${region}.amazonaws.com/`, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-amz-json-1.1',
          'x-amz-target': `AWSCognitoIdentityProviderService.${operation}`,
        },
        body: JSON.stringify({ ClientId: clientId, ...fields }),
        signal: AbortSignal.timeout(30_000),
      })
    } catch {
      throw new PoolError('offline')
    }
    const body = await response.json().catch(() => ({}))
    if (!response.ok) throw new PoolError(body.__type?.split('#').pop() ?? 'unexpected', body.message)
    return body
  }

  return {
    /** Begins a sign-in. Returns a step: the next challenge, or the tokens. */
    begin: (USERNAME) => call('InitiateAuth', { AuthFlow: 'CUSTOM_AUTH', AuthParameters: { USERNAME } }),

    /** Answers a challenge with a code, or with `resend`. Each step can be answered once. */
    answer: (USERNAME, { Session, ChallengeName }, ANSWER) =>
      call('RespondToAuthChallenge', { Session, ChallengeName, ChallengeResponses: { USERNAME, ANSWER } }),

    /** Makes a user of a verified number. Nobody needs the password again. */
    signUp: (number, referenceId) =>
      call('SignUp', {
        Username: number,
        Password: `${random()}Aa1!`,
        UserAttributes: [{ Name: 'phone_number', Value: number }],
        ValidationData: [{ Name: 'referenceId', Value: referenceId }],
      }),
  }
}

/** A text that cannot be guessed. `crypto.randomUUID` exists at secure origins alone. */
function random() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** What a token says, for the page to show. Only a backend that checks the signature may believe it. */
export function claims(token) {
  const bytes = Uint8Array.from(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')), (one) => one.charCodeAt(0))
  return JSON.parse(new TextDecoder().decode(bytes))
}
