#!/usr/bin/env bash
# fetch-text.sh FOLDER - calibration and evaluation text from Debian packages: FOLDER/calib-*.txt and FOLDER/eval-*.txt, prose and code in
# each, from different packages. About 16 MB of packages are unpacked, not installed. Calibration files are numbered so that kvcalib, which
# takes a sequence of each in turn, meets prose and code by turns however few tokens it is asked for.
folder=$(realpath -m "${1:?usage: fetch-text.sh FOLDER}")
. "$(dirname "$0")/common.sh"

edition=2 # of the choice of texts; folders filled by another are filled anew
[ "$(cat "$folder/done" 2>/dev/null)" = "$edition" ] && exit 0
newest() { apt-cache depends --important "$1" 2>/dev/null | sed -n "s/.*\($2\).*/\1/p" | head -n 1; }
perl=$(newest perl 'perl-modules-[0-9.]*')
python=$(newest libpython3-stdlib 'libpython3\.[0-9]*-stdlib')
packages=(debian-policy developers-reference debian-faq doc-debian maint-guide base-files jargon-text fortunes git-doc
    libevent-dev libstb-dev zlib1g-dev debootstrap shunit2 bash-completion libdpkg-perl python3-urllib3
    "${perl:-perl-modules-5.36}" "${python:-libpython3.11-stdlib}")
rm -rf "$folder"/{packages,done} "$folder"/{calib,eval}-*.txt
mkdir -p "$folder/packages"
# Plain users may not refresh the lists; what is there then has to do.
apt-get update >/dev/null 2>&1 || true
(cd "$folder/packages" && apt-get download -q "${packages[@]}" >download.log 2>&1) ||
    die "cannot download ${packages[*]}: $(tail -n 1 "$folder/packages/download.log")"
for deb in "$folder"/packages/*.deb; do dpkg-deb -x "$deb" "$folder/packages/tree"; done

usr=$folder/packages/tree/usr
doc=$usr/share/doc include=$usr/include games=$usr/share/games/fortunes
modules=$(find "$usr/share/perl" -mindepth 1 -maxdepth 1 -type d | head -n 1) && [ -n "$modules" ] ||
    die "the Perl package has changed: no usr/share/perl in it"
library=$(find "$usr/lib" -mindepth 1 -maxdepth 1 -name 'python3.*' | head -n 1) && [ -n "$library" ] ||
    die "the Python package has changed: no usr/lib/python3.* in it"
# head_of BYTES FILE...: whole lines from the beginning of each file, plain or gzipped, in the order given
head_of() {
    local bytes=$1
    shift
    for file in "$@"; do zcat -f "$file" | LC_ALL=C awk -v most="$bytes" '{ n += length($0) + 1 } n <= most'; done
}
# body REGEX BYTES FILE: the same from the first line that matches on, behind a manual's table of contents and without those of its chapters
body() {
    zcat -f "$3" | LC_ALL=C sed -n "s/\xc2\xa0/ /g; /$1/,\$p" | awk '
        /^ *Table of Contents$/ { blank = 0; skip = 1 }
        skip { blank += $0 == ""; skip = blank < 2; next }
        { print }' | head_of "$2" -
}

cd "$folder"
body '^1\. ' 48000 "$doc/debian-policy/policy.txt.gz" >calib-01-policy.txt
head_of 15000 "$modules/Archive/Tar.pm" "$modules/HTTP/Tiny.pm" "$modules/Getopt/Long.pm" >calib-02-perl.txt
body '^Chapter 1\. ' 48000 "$doc/debian/FAQ/debian-faq.en.txt.gz" >calib-03-answers.txt
head_of 14000 "$include"/stb/stb_{sprintf,c_lexer,rect_pack}.h >calib-04-c.txt
body '^\[\[repositories' 48000 "$doc/git-doc/user-manual.txt" >calib-05-tutorial.txt
head_of 16000 "$library"/{difflib,dataclasses,statistics}.py >calib-06-python.txt
body '^Chapter 4\. ' 48000 "$doc/jargon-text/jargon.txt.gz" >calib-07-essay.txt
head_of 22000 "$usr/share/debootstrap/functions" "$usr/sbin/debootstrap" >calib-08-shell.txt
head_of 16000 "$usr"/share/common-licenses/{Apache-2.0,MPL-2.0,GPL-3} >calib-09-licences.txt
head_of 46000 "$include/event2/event.h" >calib-10-headers.txt
head_of 12000 "$games"/{tao,science,startrek,wisdom} | sed 's/^%$//' >calib-11-quotes.txt
head_of 14000 "$modules"/{Net/FTP,File/Temp,Text/Wrap}.pm "$modules/ExtUtils/MakeMaker/FAQ.pod" >calib-12-perl.txt
head_of 22000 "$doc"/git-doc/{git-rebase,githooks}.txt >calib-13-commands.txt
head_of 16000 "$library"/{shutil,asyncio/streams,http/server}.py >calib-14-python.txt
head_of 30000 "$doc"/debian/{constitution.txt,social-contract.txt,debian-manifesto,bug-reporting.txt}.gz >calib-15-society.txt
body '<section' 32000 "$doc/debian-policy/policy.html/ch-sharedlibs.html" >calib-16-markup.txt

body '^1\. ' 48000 "$usr/share/developers-reference/developers-reference.txt.gz" >eval-prose.txt
body '^Chapter 1\. ' 48000 "$doc/maint-guide/maint-guide.en.txt.gz" >eval-guide.txt
body '^Chapter 1\. ' 48000 "$doc/debian-policy/fhs/fhs-3.0.txt.gz" >eval-standard.txt
head_of 48000 "$modules/Locale/Maketext/TPJ13.pod" >eval-essay.txt
head_of 24000 "$doc"/zlib1g-dev/examples/{gzlog,zran}.c >eval-c.txt
head_of 24000 "$usr"/share/perl5/Dpkg/{Source/Patch,Shlibs/SymbolFile}.pm >eval-perl.txt
head_of 24000 "$usr"/lib/python3/dist-packages/urllib3/{connectionpool,response}.py >eval-python.txt
head_of 24000 "$usr/share/shunit2/shunit2" "$usr/share/bash-completion/bash_completion" >eval-shell.txt

for file in calib-*.txt eval-*.txt; do
    iconv -f UTF-8 -t UTF-8 "$file" >/dev/null 2>&1 || { iconv -f LATIN1 -t UTF-8 "$file" >"$file.utf8" && mv "$file.utf8" "$file"; }
    [ "$(wc -c <"$file")" -gt 24000 ] || die "$file came out too short: the packages have changed"
done
rm -rf packages
echo "$edition" >./done
