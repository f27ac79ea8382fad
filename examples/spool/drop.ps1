# Drop a job for each line of stdin, a shell command, into a queuectl spool:  pwsh drop.ps1 SPOOL < commands
# Each is written whole in tmp/, is on disk, and then comes into pending/ by one rename, under a name that nobody else uses.
param([Parameter(Mandatory)][string]$Spool)
$ErrorActionPreference = 'Stop'
$Spool = (Resolve-Path -LiteralPath $Spool).ProviderPath
$utf8 = [Text.UTF8Encoding]::new($false, $true) # no mark; what is not UTF-8 is an error
$lines = [IO.StreamReader]::new([Console]::OpenStandardInput(), $utf8)

while ($null -ne ($command = $lines.ReadLine())) {
    if ($command -eq '') { continue }
    $name = "powershell-$([guid]::NewGuid()).json"
    $bytes = $utf8.GetBytes((@{ command = $command } | ConvertTo-Json -Compress) + "`n")
    $file = [IO.FileStream]::new("$Spool/tmp/$name", [IO.FileMode]::CreateNew)
    try {
        $file.Write($bytes, 0, $bytes.Length)
        $file.Flush($true) # fsync: on disk before it has a name that counts
    } finally {
        $file.Dispose()
    }
    [IO.File]::Move("$Spool/tmp/$name", "$Spool/pending/$name", $true) # with $true it is one rename
}
# .NET cannot sync a directory: the program of this name does, so that the names are on disk, too.
& sync "$Spool/tmp" "$Spool/pending"
if ($LASTEXITCODE) { throw "sync failed with $LASTEXITCODE" }
