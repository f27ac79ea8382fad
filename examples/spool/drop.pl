#!/usr/bin/perl
# Drop a job for each line of stdin, a shell command, into a queuectl spool:  perl drop.pl SPOOL < commands
# Each is written whole in tmp/, is on disk, and then comes into pending/ by one rename, under a name that nobody else uses.
use strict;
use warnings;
use Fcntl;
use IO::Handle;
use Time::HiRes;

my $spool = shift or die "usage: perl drop.pl SPOOL < commands\n";

while (my $command = <STDIN>) {
    chomp $command;
    next if $command eq '';
    $command =~ s/([\x00-\x1f"\\])/sprintf '\\u%04x', ord $1/ge;
    my $name = sprintf 'perl-%.6f-%d-%06x.json', Time::HiRes::time, $$, rand 2**24;
    sysopen my $file, "$spool/tmp/$name", O_WRONLY | O_CREAT | O_EXCL, 0600 or die "$spool/tmp/$name: $!\n";
    print $file "{\"command\": \"$command\"}\n";
    $file->flush && $file->sync or die "$name: $!\n";    # on disk before it has a name that counts
    close $file or die "$name: $!\n";
    rename "$spool/tmp/$name", "$spool/pending/$name" or die "$spool/pending/$name: $!\n";
}
for my $name ('tmp', 'pending') {
    open my $directory, '<', "$spool/$name" or die "$spool/$name: $!\n";
    $directory->sync or die "$spool/$name: $!\n";    # the names are on disk now, too
}
