#!/usr/bin/env bash
# fetch-text.sh FOLDER - calibration and evaluation text from Debian packages: FOLDER/calib-*.txt and FOLDER/eval-*.txt, prose and code
# in each, from different documents. The packages are unpacked, not installed.
folder=$(realpath -m "${1:?usage: fetch-text.sh FOLDER}")
. "$(dirname "$0")/common.sh"

[ -f "$folder/done" ] && exit 0
perl=$(apt-cache depends --important perl 2>/dev/null | sed -n 's/.*\(perl-modules-[0-9.]*\).*/\1/p' | head -n 1)
packages=(debian-policy developers-reference libc6-dev "${perl:-perl-modules-5.36}")
rm -rf "$folder/packages"
mkdir -p "$folder/packages"
# Plain users may not refresh the lists; what is there then has to do.
apt-get update >/dev/null 2>&1 || true
(cd "$folder/packages" && apt-get download -q "${packages[@]}" >download.log 2>&1) ||
    die "cannot download ${packages[*]}: $(tail -n 1 "$folder/packages/download.log")"
for deb in "$folder"/packages/*.deb; do dpkg-deb -x "$deb" "$folder/packages/tree"; done

tree=$folder/packages/tree/usr
modules=$(find "$tree/share/perl" -mindepth 1 -maxdepth 1 -type d | head -n 1) && [ -n "$modules" ] ||
    die "the Perl package has changed: no usr/share/perl in it"
policy=$tree/share/doc/debian-policy
# take LINES FILE...: the first lines of each file, plain or gzipped, in the order given
take() {
    local lines=$1
    shift
    for file in "$@"; do zcat -f "$file" | sed -n "1,${lines}p"; done
}
# body LINES FILE: the same behind the table of contents of a manual
body() { zcat -f "$2" | sed -n '/^1\. /,$p' | sed -n "1,${1}p"; }
body 2400 "$policy/policy.txt.gz" >"$folder/calib-prose.txt"
take 900 "$policy/perl-policy.txt.gz" "$policy/debconf_specification.txt.gz" >"$folder/calib-manual.txt"
take 900 "$modules/Net/Ping.pm" "$modules/Archive/Tar.pm" >"$folder/calib-perl.txt"
take 900 "$tree/include/stdio.h" "$tree/include/string.h" "$tree/include/netdb.h" >"$folder/calib-c.txt"
body 2400 "$tree/share/developers-reference/developers-reference.txt.gz" >"$folder/eval-prose.txt"
take 900 "$modules/Math/BigFloat.pm" "$modules/Text/Balanced.pm" >"$folder/eval-perl.txt"
take 900 "$tree/include/stdlib.h" "$tree/include/pthread.h" "$tree/include/math.h" >"$folder/eval-c.txt"
for file in "$folder"/calib-*.txt "$folder"/eval-*.txt; do
    iconv -f UTF-8 -t UTF-8 "$file" >/dev/null 2>&1 || { iconv -f LATIN1 -t UTF-8 "$file" >"$file.utf8" && mv "$file.utf8" "$file"; }
    [ "$(wc -c <"$file")" -gt 8000 ] || die "$(basename "$file") came out too short: the packages have changed"
done
rm -rf "$folder/packages"
touch "$folder/done"
