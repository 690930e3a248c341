// Takes the pictures of the desk for the README: desk-light.png and desk-dark.png, in this folder.
//
//   make tools && cargo build --package simulator
//   OTP_E2E_INBOX=target/e2e/inbox node docs/images/desk.mjs
//   pngquant --force --ext .png docs/images/desk-*.png
//
// Needs Chromium, and pngquant, which keeps each picture below 150 kB. OTP_E2E_INBOX is where playwright-core is installed.

import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const { chromium } = createRequire(join(resolve(process.env.OTP_E2E_INBOX), 'package.json'))('playwright-core')

const desk = spawn(join(here, '../../target/debug/simulator'), ['--provider', 'end-user-messaging'])
try {
  let screen = ''
  for await (const part of desk.stdout) if ((screen += part).includes('Ctrl-C')) break
  const [phone, api] = ['phone', 'API'].map((name) => screen.match(new RegExp(`${name} +(http\\S+)`))[1])
  const post = (url, body) =>
    fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })

  // One message of each kind, some time apart, to numbers that are reserved for fiction.
  for (const message of [
    { destinationNumber: '+447700900123', channel: 'whatsapp' },
    { destinationNumber: '+33639980042', language: 'fr-FR', channel: 'voice' },
    { destinationNumber: '+14255550142' },
  ]) {
    const response = await post(`${api}/otp/send`, message)
    if (response.status !== 202) throw new Error(await response.text())
    await post(`${phone}/simulator/clock`, { advanceSeconds: 60 })
  }
  // A wrong guess, so that the page shows guesses and a refusal.
  const { messages } = await fetch(`${phone}/inbox`).then((inbox) => inbox.json())
  const otp = [...messages[0].code].map((digit) => 9 - digit).join('')
  const refused = await post(`${api}/otp/verify`, { destinationNumber: messages[0].to, otp })
  if (refused.status !== 422) throw new Error(await refused.text())

  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] })
  for (const colorScheme of ['light', 'dark']) {
    const page = await browser.newPage({ colorScheme, viewport: { width: 1100, height: 770 } })
    await page.goto(phone)
    for (const panel of ['Requests', 'Send a text']) await page.getByText(panel, { exact: true }).click()
    await wait(1000)
    await page.screenshot({ path: join(here, `desk-${colorScheme}.png`) })
  }
  await browser.close()
} finally {
  desk.kill('SIGINT')
}
