// SPDX-License-Identifier: MIT OR Apache-2.0
//! The steps that can fail: values to compare, and the words that users see.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

/// Declares the steps with their words.
macro_rules! steps {
    ($($name:ident => $text:literal,)*) => {
        /// The step that failed. Callers compare variants; users read
        /// [`Step::as_str`].
        ///
        /// Variants may be added at any time.
        #[non_exhaustive]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Step {
            $(#[doc = concat!("`", $text, "`")] $name,)*
            /// `attach mount`, of a file system of the kernel's on another one.
            ///
            /// The first mounts of a start whose target is attached nowhere.
            AttachKernelMount,
            /// A step of a program around the library, in its own words.
            Face,
        }

        impl Step {
            /// Returns the words of the step; empty for [`Step::Face`], whose
            /// words the error holds.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::AttachKernelMount => Self::AttachMount.as_str(),
                    Self::Face => "",
                }
            }
        }

        #[cfg(test)]
        const ALL: &[Step] = &[$(Step::$name,)*];
    };
}

steps! {
    AddDevice => "add device",
    AddLine => "add line",
    AttachMount => "attach mount",
    AttachRoot => "attach root",
    AttachSeccompFilter => "attach seccomp filter",
    Bind => "bind",
    BringLoopbackUp => "bring loopback up",
    ChangeDirectory => "change directory",
    ChangeLimits => "change limits",
    ChangeMode => "change mode",
    ChangeOwner => "change owner",
    ChangeRoot => "change root",
    ChangeTimes => "change times",
    CheckCommand => "check command",
    CheckPath => "check path",
    CheckSpec => "check spec",
    ClearDirectory => "clear directory",
    Clone3 => "clone3",
    Close => "close",
    CloseSandbox => "close sandbox",
    CompileSeccompProfile => "compile seccomp profile",
    ControlCommand => "control command",
    CopyDescriptor => "copy descriptor",
    CopyFile => "copy file",
    CopyTree => "copy tree",
    DescribeCgroup => "describe cgroup",
    DetachMount => "detach mount",
    DropBoundingSet => "drop bounding set",
    EnterCgroup => "enter cgroup",
    EnterEmptyMountNamespace => "enter empty mount namespace",
    Execute => "execute",
    FindCommand => "find command",
    FindImage => "find image",
    FindMount => "find mount",
    FindStore => "find store",
    FreezeSandbox => "freeze sandbox",
    GetArchive => "get archive",
    GetFiles => "get files",
    HandScratchOver => "hand scratch over",
    ImportImage => "import image",
    JoinANewSessionKeyring => "join a new session keyring",
    JoinMountNamespace => "join mount namespace",
    JoinNetworkNamespace => "join network namespace",
    KillSandbox => "kill sandbox",
    Link => "link",
    ListDevices => "list devices",
    ListHostDirectory => "list host directory",
    ListMounts => "list mounts",
    LoadImage => "load image",
    LockStore => "lock store",
    LookUpSecurityDevices => "look up security.devices",
    LookUpUser => "look up user",
    MakeCgroup => "make cgroup",
    MakeDevice => "make device",
    MakeDirectory => "make directory",
    MakeEmptyMountNamespace => "make empty mount namespace",
    MakeFile => "make file",
    MakeLink => "make link",
    MakeMountsPrivate => "make mounts private",
    MakeMountsSlaves => "make mounts slaves",
    MakePipe => "make pipe",
    MakeReadOnly => "make read-only",
    MakeScratchDirectory => "make scratch directory",
    MakeStore => "make store",
    MakeSymbolicLink => "make symbolic link",
    MakeTerminal => "make terminal",
    MakeTree => "make tree",
    MakeUserNamespace => "make user namespace",
    Mask => "mask",
    Mount => "mount",
    MountCgroup2 => "mount cgroup2",
    MountCow => "mount cow",
    MountDevpts => "mount devpts",
    MountImage => "mount image",
    MountMqueue => "mount mqueue",
    MountOverlay => "mount overlay",
    MountProc => "mount proc",
    MountSysfs => "mount sysfs",
    MountTmpfs => "mount tmpfs",
    MountTree => "mount tree",
    NameCgroup => "name cgroup",
    NameImage => "name image",
    Open => "open",
    OpenDirectory => "open directory",
    OpenFile => "open file",
    OpenImage => "open image",
    OpenImageArchive => "open image archive",
    OpenOCIImageLayout => "open OCI image layout",
    OpenPool => "open pool",
    OpenRoot => "open root",
    OpenSandbox => "open sandbox",
    OpenStore => "open store",
    OpenTasks => "open tasks",
    ParseDevice => "parse device",
    ParseDeviceRule => "parse device rule",
    ParseDigest => "parse digest",
    ParseDuration => "parse duration",
    ParseExtraHost => "parse extra host",
    ParseImageConfig => "parse image config",
    ParseImageIndex => "parse image index",
    ParseImageManifest => "parse image manifest",
    ParseLimits => "parse limits",
    ParseManifestJson => "parse manifest.json",
    ParseMount => "parse mount",
    ParseMountOptions => "parse mount options",
    ParseOciLayout => "parse oci-layout",
    ParsePlatform => "parse platform",
    ParseReference => "parse reference",
    ParseRlimit => "parse rlimit",
    ParseSize => "parse size",
    ParseSpec => "parse spec",
    PivotRoot => "pivot root",
    PlaceFileDescriptors => "place file descriptors",
    PublishBlob => "publish blob",
    PublishLayer => "publish layer",
    PutArchive => "put archive",
    PutFiles => "put files",
    Read => "read",
    ReadBack => "read back",
    ReadBlob => "read blob",
    ReadCgroups => "read cgroups",
    ReadCredentials => "read credentials",
    ReadDirectory => "read directory",
    ReadFile => "read file",
    ReadHostEntry => "read host entry",
    ReadImage => "read image",
    ReadImageArchive => "read image archive",
    ReadLayer => "read layer",
    ReadLayerMetadata => "read layer metadata",
    ReadLayers => "read layers",
    ReadLink => "read link",
    ReadOutput => "read output",
    ReadOwnStartTime => "read own start time",
    ReadRandomNumber => "read random number",
    ReadStore => "read store",
    RecordMount => "record mount",
    RecoverCgroup => "recover cgroup",
    Remove => "remove",
    RemoveCgroup => "remove cgroup",
    RemoveDirectory => "remove directory",
    RemoveFile => "remove file",
    RemoveLayer => "remove layer",
    Rename => "rename",
    RepairStore => "repair store",
    ResizeTerminal => "resize terminal",
    Set => "set",
    SetCapabilities => "set capabilities",
    SetHostname => "set hostname",
    SetLimitsDisk => "set limits.disk",
    SetMountAttributes => "set mount attributes",
    SetNoNewPrivs => "set no_new_privs",
    SetOwners => "set owners",
    SetResourceLimits => "set resource limits",
    SetSecurityDeviceRules => "set security.device_rules",
    SetSysctl => "set sysctl",
    SetUserAndGroups => "set user and groups",
    SignalCommand => "signal command",
    StackLayers => "stack layers",
    StageLayer => "stage layer",
    Start => "start",
    StartCommand => "start command",
    StartInit => "start init",
    StartSession => "start session",
    StartSpawner => "start spawner",
    Stat => "stat",
    SweepStore => "sweep store",
    Sync => "sync",
    TakeFromPool => "take from pool",
    TalkToSpawner => "talk to spawner",
    ThawSandbox => "thaw sandbox",
    TryMount => "try mount",
    UnmountImage => "unmount image",
    UnpackImage => "unpack image",
    UnpackLayer => "unpack layer",
    UnshareCgroupNamespace => "unshare cgroup namespace",
    UpgradeStore => "upgrade store",
    UseSandbox => "use sandbox",
    VerifyBlob => "verify blob",
    VerifyLayer => "verify layer",
    WaitForCommand => "wait for command",
    WatchSandbox => "watch sandbox",
    WriteBlob => "write blob",
    WriteFile => "write file",
    WriteGidMap => "write gid map",
    WriteIdMap => "write id map",
    WriteIdMapWith => "write id map with",
    WriteIndex => "write index",
    WriteLayerMetadata => "write layer metadata",
    WriteOutImageArchive => "write out image archive",
    WriteOutput => "write output",
    WriteUidMap => "write uid map",
}

/// A step in its whole words: `check spec: limits.memory`, `mount tmpfs`.
#[derive(Debug, Clone)]
pub struct Sentence {
    pub(super) step: Step,
    pub(super) words: Cow<'static, str>,
}

impl Step {
    /// Adds the key that the step is about: `check spec: limits.memory`.
    pub fn key(self, key: impl fmt::Display) -> Sentence {
        Sentence::from(self).key(key)
    }

    /// Adds the name of what the step changes: `set limits.memory`.
    pub fn named(self, name: impl fmt::Display) -> Sentence {
        Sentence {
            step: self,
            words: format!("{} {name}", self.as_str()).into(),
        }
    }
}

impl Sentence {
    /// Adds the key that the step is about, as [`Step::key`].
    #[must_use]
    pub fn key(self, key: impl fmt::Display) -> Self {
        Self {
            step: self.step,
            words: format!("{}: {key}", self.words).into(),
        }
    }
}

impl From<Step> for Sentence {
    fn from(step: Step) -> Self {
        Self {
            step,
            words: step.as_str().into(),
        }
    }
}

/// The words of a program around the library, whose steps the library does not
/// compare.
impl From<&'static str> for Sentence {
    fn from(words: &'static str) -> Self {
        Self {
            step: Step::Face,
            words: words.into(),
        }
    }
}

/// The words of a program around the library, whose steps the library does not
/// compare.
impl From<String> for Sentence {
    fn from(words: String) -> Self {
        Self {
            step: Step::Face,
            words: words.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn step_has_words_of_its_own() {
        let words: BTreeSet<&str> = ALL.iter().map(|step| step.as_str()).collect();
        assert_eq!(words.len(), ALL.len());
        assert!(!words.contains(""));
    }

    #[test]
    fn step_with_a_key_is_a_sentence() {
        let told = |sentence: Sentence| (sentence.step, sentence.words.into_owned());
        let key = Step::CheckSpec.key("limits.pids");
        assert_eq!(
            told(key),
            (Step::CheckSpec, "check spec: limits.pids".into())
        );
        let name = Step::Set.named("limits.pids");
        assert_eq!(told(name), (Step::Set, "set limits.pids".into()));
    }
}
