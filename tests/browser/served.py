"""Generated histories and servers of them, for tests of the explorer."""

import base64
import http.client
import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

RECORD = 318
NETWORK = "development"
CHAINS = 20


def text(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Record:
    """What a header says of its place."""

    def __init__(self, data):
        self.data = data
        self.chain = int.from_bytes(data[222:226], "little")
        self.height = int.from_bytes(data[258:266], "little")
        self.parent = text(data[16:48])
        self.hash = text(data[286:])


def run(plait, *args):
    command = [str(part) for part in [plait, *args]]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")


def records(file):
    data = file.read_bytes()
    return [Record(data[at : at + RECORD]) for at in range(0, len(data), RECORD)]


def generate(plait, file, heights, *more):
    flags = ["--network", NETWORK, "--heights", heights, "--seed", 7, "--out", file]
    run(plait, "generate", *flags, *more)


def replay(plait, db, file, *more):
    run(plait, "replay", "--db", db, *more, file)


class Server:
    """A server of a database, which can be stopped and started again at the same place."""

    def __init__(self, plait, db, log, *more, listen="127.0.0.1:0", origin=None):
        self.command = [plait, "serve", "--db", db, "--ingest", "127.0.0.1:0", "--metrics", "127.0.0.1:0", *more]
        self.log, self.listen, self.origin = log, listen, origin
        self.start()

    def start(self):
        command = [str(part) for part in [*self.command, "--listen", self.listen]]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        said = {}
        end = time.monotonic() + 60
        while len(said) < 3:
            log = self.log.read_text()
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"plait serve does not listen:\n{log}")
            said = dict(re.findall(r"(listening|taking blocks|metrics) on (http://\S+)", log))
            time.sleep(0.01)
        self.url, self.ingest, self.metrics = said["listening"], said["taking blocks"], said["metrics"]
        self.listen = self.url.removeprefix("http://")
        # A page behind something else is asked for there.
        self.page = self.origin or f"{self.url}/"

    def metric(self, name):
        """The value of a metric of the server."""
        with urllib.request.urlopen(self.metrics) as answer:
            text = answer.read().decode()
        return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])

    def stop(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def get(self, path, accept="application/json", body=None, network=NETWORK):
        """An answer of the API; None if there is none."""
        url = f"{self.url}/chainweb/0.0/{network}/{path}"
        headers = {"Accept": accept, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as answer:
                read = answer.read()
                return json.loads(read) if "json" in accept else (read, answer.headers)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def pages(self, path, body=None):
        """All items of a list."""
        items, cursor = [], ""
        while True:
            page = self.get(path + cursor, body=body)
            items += page["items"]
            if not (page["next"] or "").startswith("inclusive:"):
                return items
            cursor = f"&next={page['next']}"

    def blocks(self, low, high):
        """All blocks of a range of heights: (chain, hash) and whether it is canonical."""
        cut = self.get("cut")["hashes"]
        found = {}
        for chain in range(CHAINS):
            heights = f"minheight={low}&maxheight={high}"
            upper = {"upper": [cut[str(chain)]["hash"]]}
            branch = set(self.pages(f"chain/{chain}/hash/branch?{heights}", upper))
            for hash in self.pages(f"chain/{chain}/hash?{heights}"):
                found[chain, hash] = hash in branch
        return found

    def push(self, some):
        """Stores blocks, and returns when the server has them."""
        place = urllib.parse.urlsplit(self.ingest)
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
        body = b"".join(record.data for record in some)
        connection.request("POST", "/push", body, {"Content-Type": "application/octet-stream"})
        answer = connection.getresponse()
        said = answer.read().decode()
        if answer.status != 200:
            raise RuntimeError(f"push: {answer.status} {said}")
