"""What Python's standard library makes of messages, for the corpus test.

Reads file names from standard input, one a line, and prints a JSON object a
line for each: {"file", "attachments": [{"sha256", "size"}], "body", "links", "guessed", "html"}.
It follows the contract's rules, written down again here on their own; "html"
says that body comes from HTML, without the targets of its links, which are in
"links".
"""
import email
import email.policy
import hashlib
import html.parser
import json
import re
import sys

POLICY = email.policy.compat32.clone(max_line_length=None)


class Text(html.parser.HTMLParser):
    """The visible text of an HTML document."""

    HIDDEN = {"script", "style", "title", "iframe", "noframes", "noembed", "template"}

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.out = []
        self.hidden = None
        self.links = []

    def handle_starttag(self, tag, attrs):
        if tag in self.HIDDEN and self.hidden is None:
            self.hidden = tag
        if tag == "a" and dict(attrs).get("href"):
            self.links.append(dict(attrs)["href"])
        if tag == "img" and self.hidden is None:
            # An image is its alternative text.
            self.out.append(dict(attrs).get("alt") or "")
        self.out.append(" ")

    def handle_endtag(self, tag):
        if tag == self.hidden:
            self.hidden = None
        self.out.append(" ")

    def handle_data(self, data):
        if self.hidden is None:
            self.out.append(data)


def html_text(s):
    p = Text()
    p.feed(s)
    p.close()
    return "".join(p.out), p.links


ALIASES = {
    "gb2312": "gb18030", "gbk": "gb18030", "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949", "iso-8859-1": "cp1252", "latin1": "cp1252",
    "iso-8859-9": "cp1254", "shift_jis": "cp932",
}


def decode(data, charset):
    charset = (charset or "").strip(" '\"").lower()
    if charset not in ("", "us-ascii", "ascii", "utf-8", "utf8"):
        try:
            return data.decode(ALIASES.get(charset, charset), "replace")
        except (LookupError, UnicodeError):
            pass
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def is_guessed(data, charset):
    """Whether the charset has to be guessed, or is the one that programs name whatever they send."""
    try:
        data.decode("utf-8")
        return False
    except UnicodeDecodeError:
        pass
    charset = (charset or "").strip(" '\"").lower()
    if charset in ("", "us-ascii", "ascii", "utf-8", "utf8", "iso-8859-1", "latin1", "windows-1252"):
        return True
    try:
        data.decode(ALIASES.get(charset, charset))
        return False
    except (LookupError, UnicodeError):
        return True


def is_leaf(m):
    return not m.is_multipart() or m.get_content_maintype() == "message"


def leaves(m):
    if is_leaf(m):
        return [m]
    return [leaf for child in m.get_payload() for leaf in leaves(child)]


def content(m):
    """The decoded bytes of a leaf."""
    if m.is_multipart():  # an attached message, or its reports
        return b"".join(x.as_bytes(policy=POLICY) for x in m.get_payload())
    return m.get_payload(decode=True) or b""


def displayable(m, first):
    if m.get_content_type() not in ("text/plain", "text/html"):
        return False
    if m.get_content_disposition() == "attachment":
        return False
    return not m.get_filename() or m is first


def pick(m, first):
    """(displayed leaves, HTML alternatives)"""
    if is_leaf(m):
        return ([m], []) if displayable(m, first) else ([], [])
    kids = m.get_payload()
    kind = m.get_content_type()
    if kind == "multipart/related" and kids:
        start = (m.get_param("start") or "").strip("<> ")
        chosen = [k for k in kids if start and (k["Content-ID"] or "").strip("<> ") == start]
        return pick((chosen or kids)[0], first)
    picked = [pick(k, first) for k in kids]
    others = [o for _, other in picked for o in other]
    if kind != "multipart/alternative":
        return [s for shown, _ in picked for s in shown], others
    best = None
    for i, (shown, _) in enumerate(picked):
        if any(s.get_content_type() == "text/plain" for s in shown):
            best = i
            break
    if best is None:
        best = next((i for i, (shown, _) in enumerate(picked) if shown), None)
    for i, (shown, _) in enumerate(picked):
        if i != best:
            others += [s for s in shown if s.get_content_type() == "text/html"]
    return (picked[best][0] if best is not None else []), others


def charset(m):
    c = m.get_param("charset")
    if isinstance(c, tuple):
        c = c[2]
    return c


def meta(data):
    m = re.search(rb"<meta[^>]+charset\s*=\s*[\"']?([\w-]+)", data[:1024], re.I)
    return m.group(1).decode("ascii") if m else None


def unflow(text, delsp):
    """Paragraphs of format=flowed (RFC 3676), as a list of [quotes, text, goes on]."""
    paragraphs = []
    for line in text.replace("\r\n", "\n").split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        line = line[depth:]
        line = line[1:] if line.startswith(" ") else line
        flowed = line.endswith(" ") and line != "-- "
        if delsp and flowed:
            line = line[:-1]
        if paragraphs and paragraphs[-1][2] and paragraphs[-1][0] == depth and line not in ("", "-- "):
            paragraphs[-1][1] += line
            paragraphs[-1][2] = flowed
        else:
            paragraphs.append([depth, line, flowed])
    return "\n".join(">" * depth + " " * (depth > 0) + line for depth, line, _ in paragraphs)


def message(name):
    with open(name, "rb") as f:
        m = email.message_from_bytes(f.read())
    all_leaves = leaves(m)
    if is_leaf(m):
        # A multipart without parts is text as it stands.
        shown, others = ([m] if m.get_content_maintype() in ("text", "multipart") else []), []
    else:
        shown, others = pick(m, all_leaves[0] if all_leaves else None)
    body_html = next((x for x in all_leaves if x.get_content_type() == "text/html"
                      and any(x is y for y in shown + others)), None)
    used = [id(x) for x in shown] + [id(body_html)]
    attachments = []
    for x in all_leaves:
        if id(x) not in used:
            data = content(x)
            attachments.append({"sha256": hashlib.sha256(data).hexdigest(), "size": len(data),
                                "type": x.get_content_type()})
    texts, links, guessed = [], [], False
    for x in shown:
        data = content(x)
        guessed = guessed or is_guessed(data, charset(x))
        if x.get_content_type() == "text/html":
            cs = charset(x)
            if not cs or cs.lower() == "us-ascii":
                cs = meta(data)
            text, targets = html_text(decode(data, cs))
            texts.append(text)
            links += targets
        else:
            if m.get_content_maintype() == "multipart" and x is m:
                data = m.get_payload().encode("ascii", "surrogateescape")
            text = decode(data, charset(x))
            if x.get_content_type() == "text/plain" and str(x.get_param("format")).lower() == "flowed":
                text = unflow(text, str(x.get_param("delsp")).lower() == "yes")
            texts.append(text)
    return {"file": name, "attachments": attachments, "body": "\n\n".join(texts), "links": links, "guessed": guessed,
            "html": any(x.get_content_type() == "text/html" for x in shown)}


def main():
    for line in sys.stdin:
        name = line.rstrip("\n")
        try:
            out = message(name)
        except Exception as e:  # reported as a disagreement by the test
            out = {"file": name, "error": repr(e), "attachments": [], "body": "", "links": [], "guessed": False, "html": False}
        print(json.dumps(out))


if __name__ == "__main__":
    main()
