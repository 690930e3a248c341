// A caller with the generated TypeScript client. Arguments: the address of the API, the address of the phone, a number.
import { Configuration, OtpApi, ProblemFromJSON, ResponseError, type Redeemed, type Sent } from './client/index.js';

// The one name of Node that is used here, in place of all its types.
declare const process: { argv: string[] };

const [api, phone, destinationNumber] = process.argv.slice(2) as [string, string, string];
const otp = new OtpApi(new Configuration({ basePath: api }));

const sent: Sent = await otp.send({ idempotencyKey: 'order-4711', sendRequest: { destinationNumber, channel: 'sms' } });
const { messages } = (await (await fetch(`${phone}/inbox`)).json()) as { messages: { to: string; code: string }[] };
const code = messages.find((message) => message.to === destinationNumber)?.code ?? '';
const { referenceId } = sent;

const wrong = code.replace(/./g, (digit) => (digit === '9' ? '0' : '9'));
const refused: unknown = await otp
  .verify({ verifyRequest: { destinationNumber, referenceId, otp: wrong } })
  .catch((error: unknown) => error);
if (!(refused instanceof ResponseError)) throw new Error(`a wrong code was not refused: ${String(refused)}`);
const problem = ProblemFromJSON(await refused.response.json());

const verified = await otp.verify({ verifyRequest: { destinationNumber, referenceId, otp: code } });
const redeemed = (await otp.status({ statusRequest: { destinationNumber, referenceId, claim: true } })) as Redeemed;

console.log(
  JSON.stringify({
    expires: sent.expiresAt instanceof Date,
    refused: [refused.response.status, problem.code, problem.attemptsLeft],
    valid: verified.valid,
    redeemed: redeemed.claimed,
  }),
);
