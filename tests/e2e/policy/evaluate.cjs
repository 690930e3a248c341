// Evaluates requests against a policy in an IAM policy simulator. Reads {policy, requests: [{action, resource, context}]} from
// standard input and writes a list of results: "Allowed", "ImplicitlyDenied", "ExplicitlyDenied" or "error: ...".
//
//   node evaluate.cjs <folder where `npm ci` installed the simulator> < input.json
'use strict'

const { createRequire } = require('node:module')
const { readFileSync } = require('node:fs')
const { join, resolve } = require('node:path')

const installed = resolve(process.argv[2])

// The simulator has a copy of AWS's list of actions. The copy is from September 2026, and lacks two things: the service End
// User Messaging, which was new at that time, and the resources of voice calls. The entries below add both.
const newer = {
  'serviceNames.json': { 'end-user-messaging': 'AWS End User Messaging' },
  'actions/end-user-messaging.json': {
    sendnotifycodeverification: action('SendNotifyCodeVerification', ['notify-code-configuration']),
    validatenotifycodeverification: action('ValidateNotifyCodeVerification', []),
  },
  'resourceTypes/end-user-messaging.json': {
    'notify-code-configuration': {
      key: 'notify-code-configuration',
      arn: 'arn:${Partition}:end-user-messaging:${Region}:${Account}:notify-code-configuration/${ResourceId}',
      conditionKeys: ['aws:ResourceTag/${TagKey}'],
    },
  },
  'conditionKeys/end-user-messaging.json': {},
  'actions/sms-voice.json': {
    sendvoicemessage: action('SendVoiceMessage', ['ConfigurationSet', 'PhoneNumber', 'Pool']),
  },
}

function action(name, resources) {
  const resourceTypes = resources.map((type) => ({ name: type, required: false, conditionKeys: [], dependentActions: [] }))
  return { name, description: '', accessLevel: 'Write', resourceTypes, conditionKeys: [], dependentActions: [] }
}

const files = require(join(installed, 'node_modules', '@cloud-copilot', 'iam-data', 'dist', 'cjs', 'readRelativeFile.js'))
const { readRelativeFile } = files
files.readRelativeFile = async (path) => {
  const name = path.slice(1).join('/')
  const known = name.endsWith('/end-user-messaging.json') ? {} : await readRelativeFile(path)
  return newer[name] ? { ...known, ...newer[name] } : known
}

const { runSimulation } = createRequire(join(installed, 'package.json'))('@cloud-copilot/iam-simulate')

const account = '123456789012'
const allowEverything = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] }

async function evaluate(policy, { action, resource, context = {} }) {
  const result = await runSimulation(
    {
      request: {
        principal: `arn:aws:iam::${account}:role/otp`,
        action,
        resource: { resource, accountId: account },
        contextVariables: context,
      },
      identityPolicies: [{ name: 'otp', policy }],
      // Only the role is tested. The policies of the organisation allow everything.
      serviceControlPolicies: [{ orgIdentifier: 'root', policies: [{ name: 'all', policy: allowEverything }] }],
      resourceControlPolicies: [],
    },
    {},
  )
  if (result.resultType === 'error') return `error: ${JSON.stringify(result.errors)}`
  return result.overallResult
}

async function main() {
  const { policy, requests } = JSON.parse(readFileSync(0, 'utf8'))
  const results = []
  for (const request of requests) results.push(await evaluate(policy, request))
  process.stdout.write(`${JSON.stringify(results)}\n`)
}

main()
