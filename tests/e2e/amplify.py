"""The code for Amplify at the top of docs/cognito.md, run in Node against a user pool."""

import json
import os
import re
import subprocess
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cognito.md"

# The parts of an app that the page leaves out: the configuration, and a person who reads the phone.
BEFORE = """
import { Amplify } from 'aws-amplify'
import { fetchAuthSession } from 'aws-amplify/auth'
const [userPoolEndpoint, phone, userPoolId, userPoolClientId, number] = process.argv.slice(2)
Amplify.configure({ Auth: { Cognito: { userPoolId, userPoolClientId, userPoolEndpoint } } })
const shown = []
const show = (text) => shown.push(text)
const onThePhone = async () => {
  const { messages } = await fetch(`${phone}/inbox`).then((response) => response.json())
  return messages.find((message) => message.to === number).code
}
let code
"""
WRONG = """
code = [...await onThePhone()].map((digit) => 9 - digit).join('')
"""
AFTER = """
const { tokens } = await fetchAuthSession()
console.log(JSON.stringify({ shown, left: wrong.additionalInfo?.attemptsLeft, step: nextStep.signInStep, token: tokens?.accessToken.payload }))
"""


def sign_in(folder, packages, *arguments):
    """Signs in with a wrong and with the right code. Arguments: endpoint, phone, pool, client, number."""
    (code,) = re.findall(r"```js\n(import \{ confirmSignIn, signIn \}.*?)```", PAGE.read_text(), re.S)
    begin, answer = code.split("\n;(", 1)
    begin = begin.replace("'+14255550142'", "number", 1)
    answer = f"\n;({answer}"
    program = [begin, WRONG, answer, "\nconst wrong = nextStep\ncode = await onThePhone()\n", answer, AFTER]
    (imports, rest) = "".join(program).split("\n", 1)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "app.js").write_text(imports + BEFORE + rest)
    modules = folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(Path(packages) / "node_modules")
    command = ["node", str(folder / "app.js"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"NODE_NO_WARNINGS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
