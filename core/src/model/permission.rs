//! Actions and the resources on which they are done, named as in Airflow.

use std::fmt;

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in Airflow.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|one| one.as_str() == text).ok_or(())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// What is done.
    Action {
        /// Make a new one.
        Create = "can_create",
        /// Look at it.
        Read = "can_read",
        /// Change it.
        Edit = "can_edit",
        /// Remove it.
        Delete = "can_delete",
        /// See its entry in the menu.
        Menu = "menu_access",
    }
}

names! {
    /// What it is done on.
    Resource {
        /// The page of actions.
        ActionsPage = "Actions",
        /// The menu of administration.
        Admin = "Admin",
        /// The event log.
        AuditLogs = "Audit Logs",
        /// The menu of lists.
        Browse = "Browse",
        /// The page about the scheduler and its like.
        ClusterActivity = "Cluster Activity",
        /// The configuration.
        Configurations = "Configurations",
        /// Connections.
        Connections = "Connections",
        /// The source of DAG files.
        DagCode = "DAG Code",
        /// The page of dependencies among DAGs.
        DagDependencies = "DAG Dependencies",
        /// Runs of DAGs.
        DagRuns = "DAG Runs",
        /// Warnings about DAGs.
        DagWarnings = "DAG Warnings",
        /// DAGs.
        Dags = "DAGs",
        /// Datasets and their events.
        Datasets = "Datasets",
        /// The menu of documents.
        Docs = "Docs",
        /// The documents.
        Documentation = "Documentation",
        /// Import errors.
        ImportErrors = "ImportError",
        /// Jobs.
        Jobs = "Jobs",
        /// The page of roles.
        ListRoles = "List Roles",
        /// The page of users.
        ListUsers = "List Users",
        /// One's own password.
        MyPassword = "My Password",
        /// One's own profile.
        MyProfile = "My Profile",
        /// Other people's passwords.
        Passwords = "Passwords",
        /// The page of permissions.
        PermissionPairs = "Permission Pairs",
        /// The permissions that exist.
        PermissionViews = "Permission Views",
        /// The list of permissions.
        Permissions = "Permissions",
        /// Plugins.
        Plugins = "Plugins",
        /// Pools.
        Pools = "Pools",
        /// Providers.
        Providers = "Providers",
        /// The page of resources.
        ResourcesPage = "Resources",
        /// Roles.
        Roles = "Roles",
        /// The menu of users and roles.
        Security = "Security",
        /// Missed service levels.
        SlaMisses = "SLA Misses",
        /// Task instances, and the tasks of DAGs.
        TaskInstances = "Task Instances",
        /// Logs of tasks.
        TaskLogs = "Task Logs",
        /// Tasks that wait for another look.
        TaskReschedules = "Task Reschedules",
        /// Triggers of deferred tasks.
        Triggers = "Triggers",
        /// The page of who logs in.
        UserStatistics = "User's Statistics",
        /// The chart of who logs in.
        UserStatsChart = "User Stats Chart",
        /// Users.
        Users = "Users",
        /// Variables.
        Variables = "Variables",
        /// The resources that exist.
        ViewMenus = "View Menus",
        /// The web page.
        Website = "Website",
        /// XComs.
        XComs = "XComs",
    }
}

/// What a permission on one DAG names before the DAG's id.
pub const DAG_PREFIX: &str = "DAG:";
/// What a permission on the runs of one DAG names before the DAG's id.
pub const DAG_RUN_PREFIX: &str = "DAG Run:";
