#!/usr/bin/env python3
"""Counts the test cases of one Bazel run: count_cases.py EVENTS.json BAZEL_EXIT_STATUS.

EVENTS.json is what `bazel test --build_event_json_file` writes. It names every test target of the
run, so a target that was not built, did not run or has no case is seen and counts as one failure. A
skipped or disabled case counts as failed: what it waits for should have been set up.
"""

import json
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree


def read_events(path):
    """The labels of all test targets, and {label: {(run, shard): (attempt, status, xml path)}}."""
    targets, results = set(), {}
    with open(path, encoding="utf-8") as lines:
        for line in filter(str.strip, lines):
            event = json.loads(line)
            identity = event.get("id", {})
            if "testSize" in event.get("configured", {}):
                targets.add(identity["targetConfigured"]["label"])
            if "testResult" in event:
                name = identity["testResult"]
                runs = results.setdefault(name["label"], {})
                part = (name.get("run", 1), name.get("shard", 1))
                attempt = name.get("attempt", 1)
                if part not in runs or runs[part][0] < attempt:
                    result = event["testResult"]
                    runs[part] = (attempt, result.get("status", "NO_STATUS"), xml_path(result))
    return targets, results


def xml_path(result):
    for output in result.get("testActionOutput", []):
        if output.get("name") == "test.xml":
            return urllib.parse.unquote(urllib.parse.urlparse(output.get("uri", "")).path)
    return None


def is_failed(case):
    ran = case.get("status", "run") == "run" and case.get("result", "completed") == "completed"
    return not ran or any(case.find(tag) is not None for tag in ("failure", "error", "skipped"))


def count_part(status, path):
    """Passed cases and the names of failed ones, of one test.xml."""
    try:
        cases = list(ElementTree.parse(path).iter("testcase")) if path else []
    except (OSError, ElementTree.ParseError) as error:
        return 0, ["cannot read %s: %s" % (path, error)]
    if not cases:
        return 0, ["no test case ran"]
    failed = [
        ".".join(filter(None, [case.get("classname"), case.get("name")]))
        for case in cases
        if is_failed(case)
    ]
    passed = len(cases) - len(failed)
    if status != "PASSED" and not failed:
        failed.append("ended as %s" % status)  # its cases passed, but the process did not
    return passed, failed


def count(targets, results):
    passed, failed = 0, []
    for label in sorted(targets | set(results)):
        parts = results.get(label, {})
        if not parts:
            failed.append("%s: was not built or did not run" % label)
        for part in sorted(parts):
            good, bad = count_part(*parts[part][1:])
            passed += good
            failed += ["%s: %s" % (label, name) for name in bad]
    return passed, failed


def main():
    try:
        passed, failed = count(*read_events(sys.argv[1]))
    except (OSError, ValueError) as error:
        passed, failed = 0, ["Bazel left no readable list of what it ran: %s" % error]
    status = int(sys.argv[2])
    if status != 0 and not failed:
        failed.append("bazel ended with exit status %d" % status)
    if status == 0 and passed + len(failed) == 0:
        failed.append("no test target was found")
    for name in failed:
        print("FAILED %s" % name)
    print("%d passed, %d failed" % (passed, len(failed)))
    return status or (1 if failed else 0)


if __name__ == "__main__":
    sys.exit(main())
