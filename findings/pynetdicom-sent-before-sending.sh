#!/usr/bin/env bash
# pynetdicom's EVT_DIMSE_SENT, "DIMSE service encoded and sent a message" in its list of events.
#
# pynetdicom 3.0.4, pydicom 3.0.2.
# From memory: its handlers run after the message has left, as those of EVT_PDU_SENT do.
# Seen: they run before it is cut into PDUs. The peer has nothing while a handler works; a slow one holds the
# message back, and what it starts (a report over a second association) can overtake the answer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > expected <<'SEEN'
C-ECHO 0x0000; when the handler of EVT_DIMSE_SENT ended, the peer had received nothing
then EVT_PDU_SENT, and the peer received the message
SEEN
python3 -m venv venv
venv/bin/python -m pip install --quiet pydicom==3.0.2 pynetdicom==3.0.4
venv/bin/python - > seen 2> errors <<'PYTHON' || { cat errors; exit 1; }
import threading
import time

from pynetdicom import AE, evt

VERIFICATION = "1.2.840.10008.1.1"
order, lock = [], threading.Lock()
had = None


def note(what):
    with lock:
        order.append(what)


def sent(event):
    global had
    note("DIMSE_SENT begins")
    time.sleep(1)
    had = "received by the peer" in order
    note("DIMSE_SENT ends")


def data(event):
    if type(event.pdu).__name__ == "P_DATA_TF":
        note("PDU_SENT")


def received(event):
    if type(event.message).__name__ == "C_ECHO_RQ":
        note("received by the peer")


server = AE()
server.add_supported_context(VERIFICATION)
listening = server.start_server(
    ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_DIMSE_RECV, received)]
)
client = AE()
client.add_requested_context(VERIFICATION)
association = client.associate(
    "127.0.0.1", listening.server_address[1],
    evt_handlers=[(evt.EVT_DIMSE_SENT, sent), (evt.EVT_PDU_SENT, data)],
)
assert association.is_established
status = association.send_c_echo().Status
association.release()
listening.shutdown()
said = "the message" if had else "nothing"
print(f"C-ECHO 0x{status:04x}; when the handler of EVT_DIMSE_SENT ended, the peer had received {said}")
if {*order[order.index("DIMSE_SENT ends") :]} >= {"PDU_SENT", "received by the peer"}:
    print("then EVT_PDU_SENT, and the peer received the message")
PYTHON
cat seen
diff expected seen && echo "As described."
