from _gen import *  # <AUTO GENERATED>

# A PolyAI function that hands a caller to a person: it writes the handoff to Baton, then gives the call
# back to Twilio, where Baton sends it to whom `destination` names.
#
#   1. The connector CONNECTOR_ID_HERE has `routing.mode` "sip". Its calls bring the headers X-Call-Sid,
#      X-Handoff-Url and X-Call-Token, which is good for this one call: no key is kept here.
#   2. With the ADK, save it as functions/hand_off.py. In Agent Studio's editor leave out the first line
#      and the decorators, and describe function and parameters in the fields there.
#   3. Make a call handoff with the name below, method BYE.
#
# A handoff that cannot be written must not keep the caller from the person: the call goes on without.

import json
import time
import urllib.error
import urllib.parse
import urllib.request

BATON = "BATON_PUBLIC_URL_HERE"
CALL_HANDOFF = "baton"

# Two tries of 1.5 seconds are what a caller waits without asking whether anybody is there.
TRIES = 2
TIMEOUT_SECONDS = 1.5
PAUSE_SECONDS = 0.2


@func_description("Hands the caller to a person: when the caller asks for one, or when you cannot help")
@func_parameter("destination", "Who takes the call: one of the destinations of the connector, such as billing")
@func_parameter("reason", "Why, as a code such as BILLING, COMPLAINT or SPEAK_TO")
@func_parameter("summary", "What the person needs to know, in one or two sentences")
def hand_off(conv: Conversation, destination: str, reason: str, summary: str):
    headers = {name.lower(): value for name, value in (conv.sip_headers or {}).items()}
    # PolyAI's own Handoff API finds the conversation by it.
    conv.state.shared_id = headers.get("x-call-sid", "")
    data = {
        "destination": destination,
        "reason": reason,
        "summary": summary,
        "language": conv.state.asr_lang_code,
        # Whatever your own functions have found out:
        "name": conv.state.customer_name,
        "verified": conv.state.verified,
    }
    # A proxy on the way may leave the header as it stood in the SIP address: percent-encoded.
    url = urllib.parse.unquote(headers.get("x-handoff-url", ""))
    why_not = write_handoff(url, headers.get("x-call-token", ""), data)
    if why_not:
        conv.log.warning(f"The handoff was not written: {why_not}")
    return conv.call_handoff(
        destination=CALL_HANDOFF,
        reason=reason,
        utterance="One moment, please. I am putting you through to a colleague.",
    )


def write_handoff(url, token, data):
    """Says why it could not be written; nothing if it was."""
    # What a caller sends as a header must not choose where the handoff goes.
    if not url.startswith(f"{BATON}/"):
        return "the call has no X-Handoff-Url of this Baton"
    why_not = ""
    for attempt in range(TRIES):
        if attempt > 0:
            time.sleep(PAUSE_SECONDS)
        try:
            request = urllib.request.Request(
                url,
                data=json.dumps({"data": data}, default=str).encode(),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                method="PUT",
            )
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
                return ""
        except urllib.error.HTTPError as error:
            why_not = f"Baton answered {error.code}"
            # Sent again, anything else would be refused again.
            if error.code not in (429, 503):
                break
        except Exception as error:
            # By its name alone: a message may quote the token.
            why_not = type(error).__name__
    return why_not
